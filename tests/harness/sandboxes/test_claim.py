"""Holding a workspace folder: one at a time, reopened as it was made, never over what is half."""

import os
from pathlib import Path

import pytest

from harness.ports import Base, SandboxLimits
from harness.sandboxes import claim
from harness.sandboxes.bases import Layers
from harness.sandboxes.claim import Record
from orchestrator.errors import SandboxError


@pytest.fixture
def wanted(tmp_path: Path) -> Record:
    layers = Layers((tmp_path / "tree",), tmp_path / "git", tmp_path / "env")
    base = Base("base", "c" * 40, tmp_path / "facts", layers)
    return Record("key", base, SandboxLimits(), {"run": "one"})


def test_one_holds_it_and_the_next_finds_it_as_it_was_made(tmp_path: Path, wanted: Record) -> None:
    folder = tmp_path / "run" / "key"
    held, known = claim.claim(folder, wanted)
    assert known is None
    assert claim.is_held(folder)
    with pytest.raises(SandboxError, match="in use"):
        claim.claim(folder, wanted)
    claim.make_folders(folder)
    (folder / "upper" / "mine").touch()
    os.close(held)
    assert not claim.is_held(folder)

    again, known = claim.claim(folder, wanted)
    assert known is not None
    assert (known.key, known.base, known.labels) == ("key", wanted.base, {"run": "one"})
    assert (folder / "upper" / "mine").exists()
    os.close(again)
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == ["workspace.json"]


@pytest.mark.parametrize("left", [b"", b'{"key": "ke'])
def test_beside_half_a_record_nothing_is_believed(
    tmp_path: Path, wanted: Record, left: bytes
) -> None:
    folder = tmp_path / "key"
    claim.make_folders(folder)
    (folder / "upper" / "planted").touch()
    (folder / "link").symlink_to(tmp_path)
    (folder / "workspace.json").write_bytes(left)
    held, known = claim.claim(folder, wanted)
    assert known is None
    assert [path.name for path in folder.iterdir()] == ["workspace.json"]
    assert claim.record(folder) is not None
    os.close(held)
