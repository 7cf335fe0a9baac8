"""The drivers as they run inside a sandbox, here in plain processes: what only some tools show."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import harness.verify

TEXTS = Path(harness.verify.__file__).parent
SHOP = "def total(prices):\n    if prices:\n        return sum(prices)\n    return 0\n"
EXAM = (
    "import pytest\nfrom shop import total\n\n\n"
    "@pytest.mark.parametrize('n', range(4))\ndef test_sum(n):\n    assert total([n]) == n\n\n\n"
    "def test_empty():\n    assert total([]) == 0\n\n\n"
    "def test_later():\n    pytest.skip('later')\n"
)


def said(folder: Path, config: dict[str, Any], *arguments: str) -> list[tuple[str, Any]]:
    """What the driver of pytest reports of a run in the folder."""
    inside = folder.parent / "inside"
    inside.mkdir()
    literal = json.dumps(json.dumps({**config, "work": str(folder)}))
    watch = (TEXTS / "inside_watch.py").read_text(encoding="utf-8")
    (inside / "ff_watch.py").write_text(f"import json\nCONFIG = json.loads({literal})\n{watch}")
    for name, text in (("ff_exam", "inside_exam"), ("ff_pytest", "inside_pytest")):
        (inside / f"{name}.py").write_bytes((TEXTS / f"{text}.py").read_bytes())
    out = folder.parent / "out"
    with out.open("wb") as file:
        env = {**os.environ, "PYTHONPATH": str(inside), "FIBREFLOW_REPORT": str(file.fileno())}
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "ff_pytest", *arguments],
            cwd=folder, env=env, pass_fds=[file.fileno()], check=False, capture_output=True,
            timeout=120,
        )  # fmt: skip
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    return [(kind, data) for kind, data, _ in lines]


@pytest.mark.long
def test_lines_are_measured_where_tests_are_shared_out(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "shop.py").write_text(SHOP)
    (folder / "test_shop.py").write_text(EXAM)
    found = said(folder, {"measure": ["shop.py"]}, "-n", "2", "-p", "no:cov")
    (end,) = [data for kind, data in found if kind == "end"]
    assert end["exit"] == 0
    assert end["lines"] == {"shop.py": {"statements": [1, 2, 3, 4], "missing": []}}
    (skip,) = [d for kind, d in found if kind == "test" and d["outcome"] == "skipped"]
    assert skip["whence"] == {"files": ["test_shop.py"], "said": True}
