"""Runs the agent's tool calls in the sandbox and turns whatever happens into results."""

import asyncio
import posixpath
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.agents.task import Observer
from harness.ports import Clock, ExecResult, Sandbox
from harness.skills import Skill
from orchestrator.errors import SandboxError, SandboxGoneError

#: Bytes of one result: about 4,000 tokens, enough for a test failure, too little to drown in.
OUTPUT_LIMIT = 16_000
#: Seconds of one command. A model that waits longer has started a server in the foreground.
COMMAND_SECONDS = 120.0
#: Bytes of the largest file `edit` opens; beyond it nobody edits by hand.
FILE_LIMIT = 2_000_000

SUBMIT = "submit"
SKILL = "skill"

_TEXT = {"type": "string"}
_LINE = {"type": "integer"}

TOOLS: tuple[Mapping[str, Any], ...] = (
    {
        "name": "bash",
        "description": (
            "Run a shell command in the repository. Returns its output (standard error included) "
            "and its exit status. At most 120 seconds; everything it started ends with it."
        ),
        "input_schema": {
            "type": "object",
            "properties": {"command": {**_TEXT, "description": "the shell command"}},
            "required": ["command"],
        },
    },
    {
        "name": "edit",
        "description": (
            "View or change one text file. Commands: `view` (path, optional start and end line), "
            "`create` (path, text: writes the whole file), `replace` (path, old, new: old must "
            "occur exactly once), `insert` (path, line, text: after that line, 0 for the top)."
        ),
        "input_schema": {
            "type": "object",
            "properties": {
                "command": {"type": "string", "enum": ["view", "create", "replace", "insert"]},
                "path": {**_TEXT, "description": "relative to the root of the repository"},
                "text": _TEXT,
                "old": _TEXT,
                "new": _TEXT,
                "line": _LINE,
                "start": _LINE,
                "end": _LINE,
            },
            "required": ["command", "path"],
        },
    },
    {
        "name": SUBMIT,
        "description": "Hand in the work and end. Call it when the acceptance commands pass.",
        "input_schema": {
            "type": "object",
            "properties": {"summary": {**_TEXT, "description": "what was done, in a few lines"}},
            "required": ["summary"],
        },
    },
)


def offered(skills: Sequence[Skill]) -> tuple[Mapping[str, Any], ...]:
    """The tools of an attempt: with the skill tool where there are skills."""
    if not skills:
        return TOOLS
    names = "\n".join(f"- {skill.name}: {skill.description}" for skill in skills)
    tool = {
        "name": SKILL,
        "description": (
            "Open or run a skill: a ready-made script that runs in the repository. `open` says "
            f"what it takes and prints; `run` runs it with `args`. There are:\n{names}"
        ),
        "input_schema": {
            "type": "object",
            "properties": {
                "command": {"type": "string", "enum": ["open", "run"]},
                "skill": {"type": "string", "enum": [skill.name for skill in skills]},
                "args": {"type": "array", "items": _TEXT},
            },
            "required": ["command", "skill"],
        },
    }
    *others, submit = TOOLS
    return (*others, tool, submit)


class ToolInputError(ValueError):
    """The call cannot be carried out as it was written; the message is for the model."""


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of one attempt."""

    sandbox: Sandbox
    observer: Observer
    clock: Clock
    skills: tuple[Skill, ...] = ()

    async def run(self, call: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """One `tool_use` block in, its `tool_result` block out; `seconds` are left in all.

        Raises `SandboxError` when the sandbox failed; all else is a result.
        """
        try:
            text = await self._run(call["name"], call.get("input"), seconds)
        except ToolInputError as error:
            return result(call["id"], str(error), is_error=True)
        return result(call["id"], text)

    async def _run(self, name: str, given: Any, seconds: float) -> str:
        if name == "bash":
            return await self._bash(given, seconds)
        if name == "edit":
            return await self._edit(given)
        if name == SUBMIT:
            fields(given, {"summary": str}, SUBMIT)
            return "submitted"
        if name == SKILL and self.skills:
            return await self._skill(given, seconds)
        names = ", ".join(str(tool["name"]) for tool in offered(self.skills))
        raise ToolInputError(f"there is no tool {name!r}; the tools are {names}")

    async def _bash(self, given: Any, seconds: float) -> str:
        command = fields(given, {"command": str}, "bash")["command"]
        timeout = max(1.0, min(COMMAND_SECONDS, seconds))
        began = self.clock.monotonic()
        # One stream: an error message means most beside the output it came with.
        done = await self.sandbox.exec(f"exec 2>&1; {command}", timeout=timeout, limit=OUTPUT_LIMIT)
        self.observer.command(command, done.exit, self.clock.monotonic() - began)
        return describe(done, timeout)

    async def _skill(self, given: Any, seconds: float) -> str:
        values = fields(given, {"command": str, "skill": str, "args?": list}, SKILL)
        skill = next((s for s in self.skills if s.name == values["skill"]), None)
        if skill is None or values["command"] not in ("open", "run"):
            names = ", ".join(s.name for s in self.skills)
            raise ToolInputError(f"skill: `command` is open or run, `skill` one of {names}")
        if values["command"] == "open":
            return bounded(skill.body)
        args = values.get("args", [])
        for value in args:
            fields({"args": value}, {"args": str}, SKILL)
        return await self._run_skill(skill, args, seconds)

    async def _run_skill(self, skill: Skill, args: list[str], seconds: float) -> str:
        """Inside, like all that an agent chooses to run; the script comes by standard input, so
        that no file of it is left in the workspace."""
        script = await asyncio.to_thread(skill.script.read_bytes)
        timeout = max(1.0, min(COMMAND_SECONDS, seconds))
        began = self.clock.monotonic()
        argv = ["python3", *skill.flags, "-", *args]
        done = await self.sandbox.exec(argv, stdin=script, timeout=timeout, limit=OUTPUT_LIMIT)
        what = f"skill {skill.name} {' '.join(args)}".rstrip()
        self.observer.command(what, done.exit, self.clock.monotonic() - began)
        return describe(done, timeout)

    async def _edit(self, given: Any) -> str:
        commands: dict[str, tuple[dict[str, type], Callable[..., Awaitable[str]]]] = {
            "view": ({"start?": int, "end?": int}, self._view),
            "create": ({"text": str}, self._create),
            "replace": ({"old": str, "new": str}, self._replace),
            "insert": ({"line": int, "text": str}, self._insert),
        }
        name = given.get("command") if isinstance(given, Mapping) else None
        if not isinstance(name, str) or name not in commands:
            raise ToolInputError(f"edit: `command` must be one of {', '.join(commands)}")
        wanted, run = commands[name]
        values = fields(given, {"command": str, "path": str, **wanted}, f"edit {name}")
        path = self._inside(values.pop("path"))
        del values["command"]
        began = self.clock.monotonic()
        try:
            return await run(path, **values)
        except SandboxGoneError:
            raise
        except SandboxError as error:  # a directory, a file too large, a path it may not write
            raise ToolInputError(f"edit {name}: {path}: {error}") from None
        finally:
            self.observer.command(f"edit {name} {path}", None, self.clock.monotonic() - began)

    def _inside(self, path: str) -> str:
        """The path relative to the repository's root; refuses to leave it."""
        root = self.sandbox.workdir.rstrip("/") + "/"
        clean = posixpath.normpath(path.removeprefix(root))
        if clean.startswith(("/", "../")) or clean in {".", ".."}:
            raise ToolInputError(f"edit: {path!r} is not a file inside the repository")
        return clean

    async def _read(self, path: str) -> str:
        try:
            data = await self.sandbox.download(path, limit=FILE_LIMIT)
        except FileNotFoundError:
            raise ToolInputError(f"{path} does not exist; `create` makes it") from None
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise ToolInputError(f"{path} is not UTF-8 text; use bash") from None

    async def _view(self, path: str, start: int = 1, end: int | None = None) -> str:
        lines = split_lines(await self._read(path))
        first, last = max(1, start), min(len(lines), end if end is not None else len(lines))
        shown = [f"{n:6}\t{lines[n - 1]}".rstrip("\n") for n in range(first, last + 1)]
        if not shown:
            return f"{path} has {len(lines)} lines; nothing to show from {first} to {last}"
        return bounded("\n".join(shown))

    async def _create(self, path: str, text: str) -> str:
        await self.sandbox.upload(path, text.encode())
        return f"wrote {path}, {len(split_lines(text))} lines"

    async def _replace(self, path: str, old: str, new: str) -> str:
        whole = await self._read(path)
        count = whole.count(old) if old else 0
        if count != 1:
            found = f"occurs {count} times; add lines around it" if count else "does not occur"
            raise ToolInputError(f"{path}: `old` must occur exactly once, but {found}")
        at = whole.index(old)
        await self.sandbox.upload(path, (whole[:at] + new + whole[at + len(old) :]).encode())
        return f"replaced in {path} at line {whole.count(chr(10), 0, at) + 1}"

    async def _insert(self, path: str, line: int, text: str) -> str:
        lines = split_lines(await self._read(path))
        if not 0 <= line <= len(lines):
            raise ToolInputError(f"{path} has {len(lines)} lines; `line` must be 0 to {len(lines)}")
        if line and not lines[line - 1].endswith("\n"):
            lines[line - 1] += "\n"
        added = text if text.endswith("\n") else text + "\n"
        await self.sandbox.upload(path, "".join([*lines[:line], added, *lines[line:]]).encode())
        return f"inserted into {path} after line {line}"


def repeatable(call: Mapping[str, Any]) -> bool:
    """Whether a call that was cut off comes to the same when it is run again: it reads, or it
    writes the whole of a file. Of any other nobody knows how much was done."""
    given = call.get("input")
    whole = isinstance(given, Mapping) and given.get("command") in ("view", "create")
    return whole and call["name"] == "edit"


def together(calls: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The calls of a reply in their order, in groups that may run at once: views in a row, which
    change nothing. Of a command nobody knows what it changes."""
    groups: list[list[dict[str, Any]]] = []
    for call in calls:
        if groups and _views(call) and _views(groups[-1][-1]):
            groups[-1].append(call)
        else:
            groups.append([call])
    return groups


def _views(call: Mapping[str, Any]) -> bool:
    given = call.get("input")
    views = isinstance(given, Mapping) and given.get("command") == "view"
    return views and call["name"] == "edit"


def result(call_id: str, text: str, *, is_error: bool = False) -> dict[str, Any]:
    """A `tool_result` block; the API refuses empty text, so there is always some."""
    block: dict[str, Any] = {
        "type": "tool_result",
        "tool_use_id": call_id,
        "content": [{"type": "text", "text": text or "(empty)"}],
    }
    return {**block, "is_error": True} if is_error else block


def fields(given: Any, wanted: Mapping[str, type], tool: str) -> dict[str, Any]:
    """The call's input, checked; a name that ends in `?` may be missing.

    Raises `ToolInputError` naming the field. Text that no command line or file can carry
    (NUL, lone surrogates) is refused here, before a sandbox sees it.
    """
    if not isinstance(given, Mapping):
        raise ToolInputError(f"{tool}: the input must be an object")
    known = {name.rstrip("?"): kind for name, kind in wanted.items()}
    for name in given:
        if name not in known:
            raise ToolInputError(f"{tool}: unknown field `{name}`; it takes {', '.join(known)}")
    missing = [name for name in wanted if not name.endswith("?") and name not in given]
    if missing:
        raise ToolInputError(f"{tool}: `{missing[0]}` is missing")
    for name, value in given.items():
        _check(tool, name, value, known[name])
    return dict(given)


def _check(tool: str, name: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        words: dict[type, str] = {str: "text", list: "a list"}
        wanted = words.get(kind, "a number")
        raise ToolInputError(f"{tool}: `{name}` must be {wanted}")
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= c <= "\udfff" for c in value)):
        raise ToolInputError(f"{tool}: `{name}` holds characters that are not valid text")


def describe(done: ExecResult, timeout: float) -> str:
    """What the model reads of a command: output first, then what the output does not say."""
    output = bounded((done.out + done.err).decode("utf-8", "replace").rstrip("\n"))
    if done.timed_out:
        status = f"[timed out after {timeout:.0f} s; everything it started was ended]"
    else:
        status = f"[exit status {done.exit}]"
    if output and done.exit == 0 and not done.timed_out:
        return output
    return f"{output}\n{status}" if output else f"[no output] {status}"


def split_lines(text: str) -> list[str]:
    """Lines with their ends, as `grep -n` counts them; `str.splitlines` knows more ends."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def bounded(text: str, limit: int = OUTPUT_LIMIT) -> str:
    """At most about `limit` characters: the head and the tail, and how much is missing."""
    if len(text) <= limit:
        return text
    half = limit // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[... {left_out} characters left out ...]\n{text[-half:]}"
