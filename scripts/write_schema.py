"""Writes `harness/feature_list.schema.json` from the pydantic models; run it when they change."""

import json
from pathlib import Path

from orchestrator.feature_models import schema

TARGET = Path(__file__).resolve().parent.parent / "harness" / "feature_list.schema.json"


def rendered() -> str:
    """The published file's content: stable key order, so that a change shows as a small diff."""
    return json.dumps(schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    TARGET.write_text(rendered(), encoding="utf-8")
    print(f"wrote {TARGET.name}")


if __name__ == "__main__":
    main()
