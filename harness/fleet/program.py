"""Says which program this process is: all that work on one run have to be the same.

Another version may ask a model, verify or choose otherwise, and one round must not be judged by
two rules. The version's number alone would not tell two checkouts of one number apart.
"""

import functools
import hashlib
from pathlib import Path

from harness import __version__

_HOUSES = ("harness", "orchestrator")


@functools.cache
def version() -> str:
    """Such as `0.1.0+3f2a9c01d7e4`: the number, and a digest of all code and data of both houses.
    Blocks for the reading of some hundred files, once."""
    return f"{__version__}+{digest(Path(__file__).resolve().parents[2])[:12]}"


def digest(root: Path) -> str:
    """SHA-256 (hex) over the names and contents of what the houses in `root` are made of."""
    known = hashlib.sha256()
    for path in sorted(p for house in _HOUSES for p in (root / house).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            known.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return known.hexdigest()
