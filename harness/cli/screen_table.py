"""The picture of a run as a rich renderable: header, one row per feature, footer."""

import errno
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TextIO

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from harness.cli.screen_lines import SYMBOLS, encodes
from orchestrator.reporting.wording import (
    asked_a_model,
    counted,
    duration,
    model_source,
    money,
    one_line,
    unisolated,
)
from orchestrator.runs.state import FeatureState, RunState, critical_path_left, seconds_left

#: Attempt states in the order they are shown: symbol, its ASCII stand-in, style.
ATTEMPTS: Mapping[str, tuple[str, str, str]] = {
    "running": ("●", "*", "cyan"),
    "verifying": ("◐", "v", "blue"),
    "passed": ("✓", "+", "green"),
    "unjudged": ("?", "?", "yellow"),
    "rejected": ("✗", "x", "red"),
    "failed": ("!", "!", "red"),
    "cancelled": ("•", "-", "bright_black"),
}

STYLES: Mapping[str, str] = {
    "running": "cyan",
    "merging": "blue",
    "merged": "green",
    "failed": "red",
    "review": "yellow",
    "blocked": "bright_black",
    "skipped": "bright_black",
    "waiting": "",
}

#: Who gets a row when there are more features than rows: what moves, then what can move.
_RANK = {"merging": 0, "running": 0, "review": 1, "failed": 1, "waiting": 2}
_LAST_RANK = 3

#: The table's own lines around its rows: a blank or a rule, the header, a rule, another.
_FRAME_ROWS = 4
#: Between two columns.
_GAP = 3


#: The columns, and which of them go first where the terminal is too narrow for all.
_COLUMNS = ("feature", "state", "round", "attempts", "cost", "time", "winner")
_LEAST = ("winner", "round", "time", "cost")
_SHORTEST_ID = 16  # to which a feature's name may be cut


def _fitting(cells: Sequence[Mapping[str, Text]], width: int) -> list[str]:
    """The columns that fit whole, but for the names: half a state tells nobody anything."""
    need = {name: max([len(name), *(row[name].cell_len for row in cells)]) for name in _COLUMNS}
    need["feature"] = min(need["feature"], _SHORTEST_ID)
    shown = list(_COLUMNS)
    for name in _LEAST:
        if sum(need[column] + _GAP for column in shown) <= width:
            break
        shown.remove(name)
    return shown


class Terminal(Console):
    """A console that leaves a broken pipe to its caller: rich would point the whole process's
    standard output elsewhere and exit."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "the terminal went away")


def console(stream: TextIO, size: tuple[int, int] | None = None) -> Console:
    """A console on `stream` that interprets no markup, emoji codes or paths in its texts."""
    width, height = size if size is not None else (None, None)
    return Terminal(
        file=stream,
        width=width,
        height=height,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=False,
    )


class Picture:
    """Builds pictures of states, as wide and high as `terminal` allows."""

    def __init__(self, terminal: Console) -> None:
        self._terminal = terminal
        self._ascii = not encodes(terminal.encoding, SYMBOLS)
        self._ahead: tuple[int, str] = (-1, "")

    def of(self, run: RunState, now: float) -> Group:
        """The whole picture at `now` (seconds since the epoch), no higher than the terminal."""
        now = now if run.finished is None else run.finished
        head, foot = self._head(run, now), self._foot(run)
        room = max(3, self._terminal.size.height - len(head) - len(foot) - _FRAME_ROWS)
        shown, rest = rows(tuple(run.features.values()), room)
        table = self._table(shown, now)
        return Group(*head, table, *([self._rest(rest)] if rest else []), *foot)

    def _head(self, run: RunState, now: float) -> list[Text]:
        spent = duration(max(0.0, now - run.started)) if run.started is not None else ""
        lines = [
            self._text(f"FibreFlow · run {run.run} · {spent}".removesuffix(" · "), "bold"),
            self._text(f"{one_line(run.repo)} → {one_line(run.branch)}"),
            # A recording is said loudly: nobody may take the demo for a model's work.
            self._text(f"model: {model_source(run)}", "" if asked_a_model(run) else "bold yellow"),
        ]
        warning = unisolated(run)
        lines.append(
            self._text(warning, "bold red") if warning else self._text(f"sandbox: {run.sandbox}")
        )
        return lines

    def _table(self, features: Sequence[FeatureState], now: float) -> Table:
        table = Table(box=box.ASCII if self._ascii else box.SIMPLE_HEAD, pad_edge=False)
        width = self._terminal.size.width
        overflow: str = "crop" if self._ascii else "ellipsis"
        cells = [self._row(feature, now) for feature in features]
        for name in _fitting(cells, width):
            if name == "feature":
                most = 24 if width < 100 else 40
                table.add_column(name, no_wrap=True, max_width=most, overflow=overflow)  # type: ignore[arg-type]
            else:
                right = "right" if name in {"cost", "time"} else "left"
                table.add_column(name, no_wrap=True, justify=right, overflow="crop")  # type: ignore[arg-type]
        for row in cells:
            table.add_row(*(row[str(column.header)] for column in table.columns))
        return table

    def _row(self, feature: FeatureState, now: float) -> dict[str, Text]:
        took = feature.seconds
        if took is None and feature.started is not None:
            took = max(0.0, now - feature.started)
        cost = money(feature.cost_usd, feature.unknown_cost) if feature.attempts else ""
        return {
            "feature": self._text(feature.id),
            "state": self._text(feature.state, STYLES[feature.state]),
            "round": self._text(f"{feature.round}/{feature.rounds}" if feature.round else ""),
            "attempts": self._attempts(feature),
            "cost": self._text(cost.replace("at least ", ">")),
            "time": self._text(duration(took)),
            "winner": self._text(feature.winner or ""),
        }

    def _attempts(self, feature: FeatureState) -> Text:
        found: Counter[str] = Counter(a.state for a in feature.attempts.values())
        text = Text()
        for state, (symbol, plain, style) in ATTEMPTS.items():
            if found[state]:
                text.append(" " if text else "")
                text.append(f"{plain if self._ascii else symbol}{found[state]}", style)
        return text

    def _rest(self, rest: Sequence[FeatureState]) -> Text:
        found = Counter(feature.state for feature in rest)
        listed = ", ".join(f"{n} {state}" for state, n in found.most_common())
        return self._text(f"… and {len(rest)} more: {listed}", "bright_black")

    def _foot(self, run: RunState) -> list[Text]:
        states: Counter[str] = Counter(feature.state for feature in run.features.values())
        busy = sum(
            attempt.state in {"running", "verifying"}
            for feature in run.features.values()
            if feature.state in {"running", "merging"}
            for attempt in feature.attempts.values()
        )
        cap = f"of {money(run.budget_usd)}" if run.budget_usd is not None else "(no cap)"
        found = [
            f"merged {states['merged']}/{len(run.features)}",
            *(f"{states[s]} {s}" for s in ("failed", "review", "blocked") if states[s]),
        ]
        parts = [
            f"{counted(busy, 'attempt')} running",
            f"{money(run.cost_usd, run.unknown_cost)} {cap}",
            self._left(run, states),
        ]
        lines = [
            self._text(" · ".join(found), "bold"),
            self._text(" · ".join(p for p in parts if p), "bold"),
            self._legend(),
        ]
        lines += [self._text(f"warning: {w}", "yellow") for w in run.warnings[-2:]]
        lines += [self._text(f"limit: {w}", "yellow") for w in run.limits[-1:]]
        if run.draining is not None:
            lines.append(self._text(f"draining: {run.draining}", "yellow"))
        return [*lines, self._text(_ctrl_c(run), "bright_black")]

    def _left(self, run: RunState, states: Counter[str]) -> str:
        """The chain left, found anew only when a feature came to its end."""
        mark = len(run.features) - states["waiting"] - states["running"] - states["merging"]
        if mark != self._ahead[0]:
            path, eta = critical_path_left(run), seconds_left(run)
            text = f"critical path {path} left" if path else ""
            text += f", about {duration(eta)}" if path and eta is not None else ""
            self._ahead = (mark, text)
        return self._ahead[1]

    def _legend(self) -> Text:
        parts = (f"{plain if self._ascii else s} {n}" for n, (s, plain, _) in ATTEMPTS.items())
        return self._text(", ".join(parts), "bright_black")

    def _text(self, text: str, style: str = "") -> Text:
        """One line that never wraps and that the terminal's encoding can show."""
        text = one_line(text, 400)
        if self._ascii:
            text = text.replace("…", "...").replace("→", "->").replace("·", "-")
            encoding = self._terminal.encoding
            text = text.encode(encoding, "backslashreplace").decode(encoding)
        overflow: str = "crop" if self._ascii else "ellipsis"
        return Text(text, style=style, no_wrap=True, overflow=overflow)  # type: ignore[arg-type]


def _ctrl_c(run: RunState) -> str:
    """What Ctrl-C does now. Last and short: the terminal writes "^C" behind it, and if that
    wrapped into another line, the next picture would be drawn one line too low."""
    if run.finished is not None or run.stopped is not None:
        return " "
    if run.draining is not None:
        return "attempts at work end first; Ctrl-C again stops at once; nothing is lost"
    return "Ctrl-C lets attempts at work end, twice stops at once; nothing is lost"


def rows(
    features: Sequence[FeatureState], room: int
) -> tuple[Sequence[FeatureState], Sequence[FeatureState]]:
    """Which features get a row, and which are summed up in one. All in the list's order when
    they fit, so that rows do not jump about; else what is at work comes first."""
    if len(features) <= room:
        return features, ()
    ranked = sorted(features, key=lambda f: _RANK.get(f.state, _LAST_RANK))
    return ranked[: room - 1], ranked[room - 1 :]
