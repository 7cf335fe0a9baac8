"""Draws the live table as it stood at one moment of a run: an SVG and a text for the README.

    python scripts/draw_screen.py logs/RUN/events.jsonl --at 40 --out docs/screen

writes docs/screen.svg and docs/screen.txt from nothing but the run's own events.
"""

import argparse
import io
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from harness.cli.screen_table import Picture
from harness.record.journal import read_events
from orchestrator.events import Event
from orchestrator.runs.state import fold, seconds

COLUMNS, ROWS = 84, 40


def main() -> None:
    args = _arguments()
    told = list(read_events(args.events))
    begun = seconds(told[0].time) or 0.0
    run = fold(_until(told, begun + args.at))
    # The path within the workspace: where somebody's checkout lay is nobody's business.
    run = replace(run, repo=os.path.relpath(run.repo, args.events.resolve().parents[2]))
    terminal = Console(
        file=io.StringIO(),
        record=True,
        width=COLUMNS,
        height=ROWS,
        force_terminal=True,
        color_system="truecolor",
        markup=False,
        emoji=False,
        highlight=False,
    )
    terminal.print(Picture(terminal).of(run, begun + args.at))
    text = terminal.export_text(clear=False)
    lines = [line.rstrip() for line in text.splitlines()]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.with_suffix(".txt").write_text("\n".join(lines).rstrip() + "\n")
    terminal.save_svg(str(args.out.with_suffix(".svg")), title="fibreflow run --autopilot")
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("events", type=Path, help="logs/RUN/events.jsonl")
    parser.add_argument("--at", type=float, default=30, help="seconds after the run's first event")
    parser.add_argument("--out", type=Path, default=Path("docs/screen"), help="without suffix")
    return parser.parse_args()


def _until(told: list[Event], moment: float) -> Iterator[Event]:
    return (event for event in told if (seconds(event.time) or 0.0) <= moment)


if __name__ == "__main__":
    main()
