"""Quality of real patches, measured by the real tools in a process of their own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.ports import BaseSpec
from harness.verify import typecheck
from harness.verify.measuring import Measuring
from tests.harness.verify.conftest import FILES, RIGHT, Field, diff, git

OPEN = "\n\ndef g(text):\n    exec(text)  # nosec\n"
UGLY = (
    "import os, sys\n\n\ndef total(prices=[]):\n    return sum(int(p) for p in prices)  # noqa\n"
) + OPEN


@pytest.fixture
async def measuring(tmp_path: Path) -> AsyncIterator[Measuring]:
    async with Measuring(tmp_path) as made:
        yield made


@pytest.mark.isolation
async def test_what_quality_is_made_of_is_in_the_log(measured: Field) -> None:
    good = await measured.judge({"shop/total.py": RIGHT})
    assert good.passed
    assert good.quality is not None
    assert 0.99 < good.quality < 1
    told = "quality: lint 1.00, complexity 1.00, security 1.00, duplication 1.00, size 0.99"
    assert told in measured.log
    ugly = await measured.judge({"shop/total.py": RIGHT + OPEN})
    assert ugly.passed
    assert ugly.quality is not None
    assert ugly.quality < 0.9


async def test_old_flaws_are_seen_beside_new_ones_and_nothing_is_silenced(
    measuring: Measuring,
) -> None:
    seen = await measuring.measure({"a.py": UGLY}, {"a.py": UGLY, "b/__init__.py": "import os\n"})
    assert seen is not None
    (old,), (new, other) = seen
    assert old == new
    assert (old.lint, old.security) == (4, 3)  # E401, F401 twice, B006; and B102
    assert old.complexity == {"total": 2, "g": 1}
    assert other.complexity == {}


async def test_what_cannot_be_read_is_not_measured_and_spoils_nothing(
    measuring: Measuring, tmp_path: Path
) -> None:
    deep = "x = " + "(" * 50_000
    first, second = await asyncio.gather(
        measuring.measure({}, {"a.py": deep, "../b.py": "\udc80 = \0"}),
        measuring.measure({}, {"c.py": "y = 1\n"}),
    )
    assert first is not None
    assert second is not None
    assert [m.complexity for m in first[1]] == [None, None]
    assert [m.security for m in first[1]] == [None, None]
    assert (second[1][0].lint, second[1][0].security) == (0, 0)
    assert list(tmp_path.iterdir()) == []


def test_type_errors_are_counted_by_file_and_so_is_what_silences_them() -> None:
    out = (
        'a.py:3: error: Name "x" is not defined  [name-defined]\n'
        "a.py:4: note: see there\n"
        "b/a.py:1: error: Incompatible types  [assignment]\n"
    )
    texts = {"a.py": "", "b/a.py": "x: int = f()  # type:ignore[x]\n"}
    assert typecheck.counted(out, texts, ["a.py", "b/a.py"]) == {"a.py": 1, "b/a.py": 2}


@pytest.mark.isolation
@pytest.mark.network
@pytest.mark.slow
async def test_types_are_checked_where_the_project_uses_mypy(measured: Field) -> None:
    measured.start({**FILES, "mypy.ini": "[mypy]\nstrict = true\n"})
    commit = git(measured.repo, "rev-parse", "HEAD").strip()
    base = await measured.provider.prepare(
        BaseSpec(measured.repo, commit, setup="python -m pip install --quiet mypy")
    )
    wrong = RIGHT + '\n\nTOTAL: int = "none"\n'
    found = await measured.judge_patch(diff(measured.repo, {"shop/total.py": wrong}), base)
    assert found.passed
    assert "types 0.50" in measured.log
