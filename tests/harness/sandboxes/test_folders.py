"""Names, locks, removal and half-made folders."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sandboxes import folders
from orchestrator.errors import SandboxError


@given(st.text(min_size=1, max_size=400))
def test_any_key_is_one_visible_folder_name(key: str) -> None:
    name = folders.file_name(key)
    assert "/" not in name
    assert not name.startswith(".")
    assert 0 < len(name.encode()) <= 200


@given(st.sets(st.text(min_size=1, max_size=300), min_size=2, max_size=5))
def test_different_keys_have_different_names(keys: set[str]) -> None:
    assert len({folders.file_name(key) for key in keys}) == len(keys)


def test_removal_of_unreadable_and_deep_folders(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (victim / "work" / "work").mkdir(parents=True)
    (victim / "a" / "b").mkdir(parents=True)
    (victim / "a" / "b" / "f").touch()
    (victim / "a").chmod(0)
    (victim / "work" / "work").chmod(0)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (victim / "link").symlink_to(outside)
    folders.remove(victim)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["outside"]
    assert (outside / "kept").exists()
    folders.remove(victim)  # gone already


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    first = folders.try_lock(tmp_path)
    assert first is not None
    assert folders.try_lock(tmp_path) is None
    os.close(first)
    again = folders.try_lock(tmp_path)
    assert again is not None
    os.close(again)


def test_a_live_namespace_is_not_swept(tmp_path: Path) -> None:
    for name in ("live", "dead", "own", "stopped"):
        (tmp_path / name / "workspace").mkdir(parents=True)
    held = folders.try_lock(tmp_path / "live", shared=True)
    assert held is not None
    for name in ("live", "dead", "own"):
        os.utime(tmp_path / name, (0, 0))
    assert folders.sweep_namespaces(tmp_path, "own") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["live", "own", "stopped"]
    os.close(held)


def test_half_made_folders_never_appear(tmp_path: Path) -> None:
    final = tmp_path / "final"
    (tmp_path / ".making-final-crashed").mkdir()
    with pytest.raises(ZeroDivisionError), folders.complete_or_nothing(final) as making:
        (making / "half").touch()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with folders.complete_or_nothing(final) as making:
        assert folders.final_name(making) == final
        (making / "whole").touch()
    assert [p.name for p in tmp_path.rglob("*")] == ["final", "whole"]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SandboxError, match="FIBREFLOW_CACHE"):
        folders.cache_folder(tmp_path / "file" / "below")
    assert folders.cache_folder(tmp_path / "new") == tmp_path / "new"


def test_a_shared_root_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    planted = tmp_path / f"fibreflow-{os.getuid()}"
    planted.symlink_to(tmp_path / "elsewhere")
    assert not folders.usable(planted / "state")
