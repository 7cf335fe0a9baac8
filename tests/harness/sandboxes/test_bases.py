"""How long bases are kept."""

import os
from pathlib import Path

from harness.sandboxes import bases
from harness.sandboxes.bases import Layers


def test_what_nobody_has_used_for_long_is_removed(tmp_path: Path) -> None:
    old = ["bases/old", "bases/.making-old-1", "layers/old", "bases/again"]
    for name in [*old, "bases/new", "layers/new", "toolbox/old"]:
        (tmp_path / name / "tree").mkdir(parents=True)
    for name in [*old, "toolbox/old"]:
        os.utime(tmp_path / name, (0, 0))
    again = tmp_path / "bases" / "again"
    bases.used(Layers((again / "tree",), again, again))
    assert bases.sweep(tmp_path) == 3
    left = sorted(str(p.parent.relative_to(tmp_path)) for p in tmp_path.glob("*/*/tree"))
    assert left == ["bases/again", "bases/new", "layers/new", "toolbox/old"]
