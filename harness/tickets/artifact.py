"""The one thing that goes from the job with the agent to the job that writes: a folder of files.

    handover.json   how it ended (`HandOver`)         patch.diff   what to change, if anything
    report.md, report.json, feature_list.json         for people; nothing reads them again

The reader trusts nothing in it: the job that wrote it ran beside code of strangers.
"""

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.record import files
from orchestrator.errors import TicketError
from orchestrator.tickets.comments import Outcome

HANDOVER, PATCH = "handover.json", "patch.diff"
#: Above what the checks allow, so that they can say by how much a patch is too large.
_MOST = 20_000_000
_Line = Annotated[str, Field(max_length=2000)]


class HandOver(BaseModel):
    """How the work ended. `base` is the commit that the patch is for, `digest` names the work,
    `text` the state of the issue's text that it was for."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    version: int = Field(default=1, ge=1, le=1)
    repo: _Line
    number: int = Field(ge=1)
    title: _Line = ""
    base: str = Field(pattern=r"^[0-9a-f]{40,64}$")
    digest: str = Field(pattern=r"^[0-9a-f]{16}$")
    text: str = Field(default="", pattern=r"^([0-9a-f]{16})?$")
    outcome: Outcome
    reasons: tuple[_Line, ...] = ()
    questions: tuple[_Line, ...] = ()
    evidence: tuple[_Line, ...] = ()
    unverified: tuple[_Line, ...] = ()
    summary: str = Field(default="", max_length=8000)
    attempt: _Line = ""
    cost_usd: float | None = Field(default=0.0, ge=0)
    seconds: float = Field(default=0.0, ge=0)
    patch_sha256: str = ""


def store(folder: Path, handover: HandOver, patch: bytes = b"") -> None:
    """The patch first: who sees `handover.json` finds what it names."""
    if patch:
        files.replace(folder / PATCH, patch)
    named = handover.model_copy(update={"patch_sha256": _digest(patch)})
    files.replace(folder / HANDOVER, named.model_dump_json(indent=2) + "\n")


def missing(folder: Path) -> bool:
    """Whether the work ended without an artifact, not even of a failure."""
    return not (folder / HANDOVER).exists()


def load(folder: Path) -> tuple[HandOver, bytes]:
    """Raises `TicketError` for anything but a whole artifact."""
    try:
        handover = HandOver.model_validate_json(_read(folder / HANDOVER))
        patch = _read(folder / PATCH) if handover.patch_sha256 else b""
    except (OSError, ValidationError) as error:
        raise TicketError(f"{folder} holds no artifact of a ticket: {error}") from error
    if _digest(patch) != handover.patch_sha256:
        raise TicketError(f"{folder}/{PATCH} is not the patch that {HANDOVER} names")
    return handover, patch


def _read(path: Path) -> bytes:
    """A plain file of bearable size; a link could lead to a file of the machine."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _MOST:
        raise OSError(f"{path.name} is missing, not a plain file, or larger than {_MOST} bytes")
    return path.read_bytes()


def _digest(patch: bytes) -> str:
    return hashlib.sha256(patch).hexdigest() if patch else ""
