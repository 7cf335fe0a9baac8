"""Finds skills (folders with a SKILL.md) and runs their scripts, without asking any model."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError

FILE = "SKILL.md"
SCRIPT = Path("scripts", "run.py")
#: Those that come with the program: a link to the checkout's `skills`, a folder where installed.
SHIPPED = Path(__file__).resolve().with_name("shipped_skills").resolve()

# The bounds of the Agent Skills format.
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAME_CHARS = 64
_DESCRIPTION_CHARS = 1024


@dataclass(frozen=True, slots=True)
class Skill:
    """`body` is what SKILL.md says below its front matter. `packages`: the script needs more than
    the standard library. `sandbox`: agents may run it in their sandboxes."""

    name: str
    description: str
    body: str
    folder: Path
    packages: bool = False
    sandbox: bool = False

    @property
    def script(self) -> Path:
        return self.folder / SCRIPT

    def argv(self, args: Sequence[str], python: str = sys.executable) -> list[str]:
        """What runs it. Without site packages where it needs none: that is most of a start."""
        return [python, *self.flags, str(self.script), *args]

    @property
    def flags(self) -> tuple[str, ...]:
        return ("-I",) if self.packages else ("-I", "-S")


def load_all(*roots: Path) -> Mapping[str, Skill]:
    """Skills by name; of two with one name, the one whose root comes first. Raises `InputError`
    naming the file that breaks the format."""
    found: dict[str, Skill] = {}
    for root in roots:
        folders = sorted(p.parent for p in root.glob(f"*/{FILE}")) if root.is_dir() else []
        for folder in folders:
            skill = load(folder)
            found.setdefault(skill.name, skill)
    return dict(sorted(found.items()))


def load(folder: Path) -> Skill:
    """One skill. Raises `InputError`."""
    import yaml  # noqa: PLC0415 - late, for it costs start-up

    path = folder / FILE
    try:
        text = path.read_text("utf-8")
        head, mark, body = text.removeprefix("---\n").partition("\n---\n")
        facts: Any = yaml.safe_load(head) if mark and text.startswith("---\n") else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(facts, dict):
        raise InputError(f"{path}: begin with front matter between two lines of `---`")
    name, description = str(facts.get("name", "")), str(facts.get("description", ""))
    if not _NAME.fullmatch(name) or len(name) > _NAME_CHARS or name != folder.name:
        raise InputError(
            f"{path}: `name` must be the folder's name in lower case letters, digits and single "
            f"hyphens, at most {_NAME_CHARS}; it is {name!r}"
        )
    if not 0 < len(description) <= _DESCRIPTION_CHARS:
        raise InputError(f"{path}: `description` must have 1 to {_DESCRIPTION_CHARS} characters")
    metadata = facts.get("metadata") or {}
    return Skill(
        name=name,
        description=description,
        body=body.strip(),
        folder=folder,
        packages=bool(metadata.get("packages")),
        sandbox=str(metadata.get("sandbox", "")).lower() == "true",
    )


def of_workspace(workspace: Path) -> Mapping[str, Skill]:
    """The workspace's own skills and those that come with the program."""
    return load_all(workspace / "skills", SHIPPED)


def run(skills: Mapping[str, Skill], name: str, args: Sequence[str]) -> int:
    """Run a skill's script with this terminal; its exit code. Raises `InputError`."""
    skill = skills.get(name)
    if skill is None or not skill.script.is_file():
        known = ", ".join(skills) or "none"
        why = "has no scripts/run.py" if skill is not None else "is not known"
        raise InputError(f"skill {name!r} {why}; there are {known}")
    return subprocess.run(skill.argv(args), check=False, env=dict(os.environ)).returncode


async def offered(workspace: Path) -> tuple[Skill, ...]:
    """What agents may use inside their sandboxes, in the order of names."""
    found = await asyncio.to_thread(of_workspace, workspace)
    return tuple(s for s in found.values() if s.sandbox and s.script.is_file())
