"""Names artifacts by their content, and checks that what came back is what was named."""

import hashlib
import re

from orchestrator.errors import InputError, MachineError

_NAME = re.compile(r"sha256:([0-9a-f]{64})\Z")


def name_of(data: bytes) -> str:
    """`sha256:` and the digest in hexadecimal digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def place_of(name: str) -> str:
    """A relative path for the artifact: `sha256/ab/cdef...`, at most 256 to a folder's name.

    Raises `InputError` for what is no name, so that none leads out of the store.
    """
    found = _NAME.match(name)
    if found is None:
        raise InputError(f"{name[:80]!r} is no artifact's name; they look like sha256:9f86d0...")
    return f"sha256/{found[1][:2]}/{found[1][2:]}"


def checked(name: str, data: bytes, where: str) -> bytes:
    """`data`, when it is what `name` says. Raises `MachineError`."""
    if name_of(data) != name:
        raise MachineError(f"{where}: holds something else than {name}; remove it there")
    return data
