"""Probes of files and programs: healthy, slow, refusing, lying and hanging."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.sla.values import Sample
from tests.harness.sla.counterparts import sampled

# ------------------------------------------------------------------------------------- files


def aged(path: Path, seconds: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    moment = time.time() - seconds
    os.utime(path, (moment, moment))
    return path


async def test_file_age(tmp_path: Path) -> None:
    for number, age in enumerate((50, 100, 400)):
        aged(tmp_path / "images" / f"a{number}" / f"DR{number}.jpg", age)
    aged(tmp_path / "images" / "other.txt", 1)
    glob = {"type": "file_age", "path": "images/**/DR*.jpg"}
    newest = await sampled(glob, tmp_path)
    assert newest.value == pytest.approx(50, abs=20)
    oldest = await sampled({**glob, "of": "oldest"}, tmp_path)
    assert oldest.value == pytest.approx(400, abs=20)
    assert oldest.state == "error"
    absolute = await sampled({"type": "file_age", "path": f"{tmp_path}/images/a1/*"}, tmp_path)
    assert absolute.value == pytest.approx(100, abs=20)


async def test_file_count(tmp_path: Path) -> None:
    for number in range(5):
        aged(tmp_path / "queue" / f"{number}.jpg", 1)
    (tmp_path / "queue" / "folder.jpg").mkdir()
    (tmp_path / "queue" / "broken.jpg").symlink_to("nowhere")
    assert (await sampled({"type": "file_count", "path": "queue/*.jpg"}, tmp_path)).value == 5
    assert (await sampled({"type": "file_count", "path": "none/*"}, tmp_path)).value == 0


async def test_files_that_are_not_there_or_lie(tmp_path: Path) -> None:
    probe = {"type": "file_age", "path": "x*"}
    assert "no file matches" in (await sampled(probe, tmp_path)).detail
    (tmp_path / "xfolder").mkdir()
    (tmp_path / "xlink").symlink_to("xlink")
    assert "no file matches" in (await sampled(probe, tmp_path)).detail
    aged(tmp_path / "xfuture", -3600)
    assert "in the future" in (await sampled(probe, tmp_path)).detail
    aged(tmp_path / "xpipe-free", 0)
    os.mkfifo(tmp_path / "y")
    assert (await sampled({"type": "file_age", "path": "y"}, tmp_path)).state == "no_data"


# ---------------------------------------------------------------------------------- programs


def python(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "command", "run": [sys.executable, "-c", text], **more}


@pytest.mark.parametrize(
    ("probe", "value"),
    [
        (python("print(7)"), 7.0),
        (python("print('  7.5\\n')"), 7.5),
        (python('print(\'{"a": {"b": 3}}\')', json_path="a.b"), 3.0),
        (python("import sys; sys.stderr.write('noise' * 1000); print(1)"), 1.0),
    ],
)
async def test_command(probe: dict[str, Any], value: float, tmp_path: Path) -> None:
    sample = await sampled(probe, tmp_path, dict(os.environ), timeout=20)
    assert sample.value == value, sample.detail


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        (python("import sys; print(7); sys.exit('broken')"), "ended with 1: broken"),
        (python("print('seven')"), "no number"),
        (python("pass"), "no number"),
        (python("print('7 8')"), "no number"),
        (python("print('NaN')"), "no finite number"),
        (python("print('true')"), "no number"),
        (python("print('x' * 2_000_000)"), "more than"),
        (python("import os; os.kill(os.getpid(), 9)"), "ended with -9"),
        ({"type": "command", "run": ["no-such-program"]}, "cannot be run"),
        ({"type": "command", "run": ["/"]}, "cannot be run"),
        (python("print(1)", env=["NOT_SET"]), "NOT_SET is not set"),
    ],
)
async def test_programs_that_refuse_or_lie(
    probe: dict[str, Any], words: str, tmp_path: Path
) -> None:
    sample = await sampled(probe, tmp_path, dict(os.environ), timeout=20)
    assert sample.state == "no_data"
    assert words in sample.detail


async def test_a_hanging_program_ends_with_all_that_it_started(tmp_path: Path) -> None:
    text = "sleep 600 & echo $! $$ > pids; wait"
    probe = {"type": "command", "run": ["sh", "-c", text]}
    sample = await sampled(probe, tmp_path, dict(os.environ), timeout=2)
    assert "no answer within 2 s" in sample.detail
    pids = {int(p) for p in (tmp_path / "pids").read_text().split()}
    assert len(pids) == 2
    deadline = time.monotonic() + 20
    while any(_is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a child lives on"


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


async def test_a_program_sees_only_the_secrets_that_its_probe_names(tmp_path: Path) -> None:
    text = "import os; print(len([k for k in os.environ if k in ('MINE', 'OTHERS')]))"
    env = {**os.environ, "MINE": "1", "OTHERS": "2"}
    assert (await sampled(python(text, env=["MINE"]), tmp_path, env, timeout=20)).value == 1


async def skill(tmp_path: Path, body: str, json_path: str = "a.seconds") -> Sample:
    script = tmp_path / "skills" / "vlm" / "scripts" / "status.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(body)
    probe = {"type": "skill", "skill": "vlm", "script": "status.py", "json_path": json_path}
    return await sampled(probe, tmp_path, dict(os.environ), timeout=20)


async def test_skill(tmp_path: Path) -> None:
    missing = {"type": "skill", "skill": "vlm", "script": "status.py", "json_path": "a"}
    sample = await sampled(missing, tmp_path, dict(os.environ))
    assert "skills/vlm/scripts/status.py" in sample.detail
    assert (await skill(tmp_path, 'print(\'{"a": {"seconds": 12}}\')')).value == 12
    assert "no JSON" in (await skill(tmp_path, "print('fine')")).detail
    assert "ended with 3" in (await skill(tmp_path, "raise SystemExit(3)")).detail
