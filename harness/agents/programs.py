"""Reads which command-line agents there are: their commands, environments and output formats."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from orchestrator.errors import InputError, MachineError
from orchestrator.values import Ending

FILE = "agents.yaml"
_TEXTS = ("prompt", "rules", "brief")
_SHIPPED = Path(__file__).with_name("programs.yaml")


@dataclass(frozen=True, slots=True)
class Program:
    """One agent. `command` and `env` have placeholders, see programs.yaml. `package` and `path`:
    the Python package and the place in it where the binary is when PATH has none."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    output: Literal["claude", "status"] = "status"
    binary: str = ""
    package: str = ""
    path: str = ""

    def find(self) -> Path | None:
        """The binary on this machine, None for a program that names none. Raises `MachineError`."""
        if not self.binary:
            return None
        found = shutil.which(self.binary)
        if found is not None:
            return Path(found).resolve()
        spec = find_spec(self.package) if self.package else None
        inside = Path(spec.origin).parent / self.path if spec and spec.origin else None
        if inside is not None and inside.is_file():
            return inside
        hint = f", or `pip install {self.package.replace('_', '-')}`" if self.package else ""
        raise MachineError(f"agent {self.name}: no {self.binary} on PATH: install it{hint}")


def load(workspace: Path) -> Mapping[str, Program]:
    """Programs by name; the workspace's own come first. Raises `InputError` naming the file."""
    found = _read(_SHIPPED)
    own = workspace / FILE
    return {**found, **(_read(own) if own.is_file() else {})}


def _read(path: Path) -> dict[str, Program]:
    import yaml  # noqa: PLC0415 - late, for it costs start-up

    try:
        data: Any = yaml.safe_load(path.read_text("utf-8"))
        return {str(name): _program(str(name), facts) for name, facts in data.items()}
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def _program(name: str, facts: Mapping[str, Any]) -> Program:
    unknown = set(facts) - {"command", "env", "output", "binary"}
    if unknown:
        raise ValueError(f"{name}: unknown {', '.join(sorted(unknown))}")
    output = facts.get("output", "status")
    if output not in ("claude", "status"):
        raise ValueError(f"{name}: output is {output!r}, not claude or status")
    binary = facts.get("binary", {})
    return Program(
        name=name,
        command=tuple(str(word) for word in facts["command"]),
        env={str(k): str(v) for k, v in facts.get("env", {}).items()},
        output=output,
        binary=str(binary.get("name", "")),
        package=str(binary.get("package", "")),
        path=str(binary.get("path", "")),
    )


def filled(text: str, values: Mapping[str, str]) -> str:
    """`text` with its placeholders, each replaced once; other braces stay. Texts that others wrote
    are filled in only as words of their own: within one, a shell could be what reads them."""
    if (alone := values.get(text[1:-1])) is not None and text == f"{{{text[1:-1]}}}":
        return alone
    short = "|".join(re.escape(name) for name in values if name not in _TEXTS)
    return re.sub(rf"\{{({short})\}}", lambda found: values[found[1]], text)


def ending_of(program: Program, status: int, out: str) -> tuple[Ending, str]:
    """How a program that ended by itself says that it went, and its last words."""
    if program.output == "claude":
        return _claude(status, out)
    words = out.strip()[-2_000:]
    return ("submitted", words) if status == 0 else ("error", f"exit status {status}: {words}")


def _claude(status: int, out: str) -> tuple[Ending, str]:
    for line in reversed(out.splitlines()):
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and said.get("type") == "result":
            words = str(said.get("result") or said.get("subtype") or "")[:2_000]
            if said.get("subtype") == "error_max_turns":
                return "limit", f"{said.get('num_turns')} turns used"
            return ("error" if said.get("is_error") else "submitted"), words
    return "error", f"exit status {status} without a result: {out.strip()[-500:]}"
