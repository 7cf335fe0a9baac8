#!/usr/bin/env python3
"""Writes what the models said in a run as recordings, which then replay that run offline.

    python scripts/record_run.py logs/RUN FOLDER

`fibreflow run --record FOLDER` does so by itself. Name FOLDER as `project.recording` in the feature
list to replay it.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # not installed

from harness.models.recording import write
from orchestrator.errors import FibreFlowError


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="a run's folder in logs/")
    parser.add_argument("folder", type=Path, help="where the recordings go")
    args = parser.parse_args()
    try:
        written = write(args.run, args.folder)
    except FibreFlowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if not written:
        print(f"error: {args.run}: no attempt of this run has asked a model", file=sys.stderr)
        return 2
    print(f"{written} attempts recorded in {args.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
