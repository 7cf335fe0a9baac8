"""Plays recorded conversations in place of a model, and refuses to answer any other question.

A folder holds one YAML file per attempt: `<folder>/<feature id>/<attempt>.yaml`, where the
attempt is named as everywhere, such as `r1-a02` (round 1, attempt 2). `any.yaml` in the same
place serves every attempt that has no file of its own.

    source: scripted            # a person wrote it; `recorded`: a real model once said it
    by: Jane Doe                # who wrote it, or which run it was taken from
    model: claude-haiku-5-5     # optional; the model that said it
    task: 3f0c...               # SHA-256 of the feature section of the prompt it was made for,
                                # written by scripts/stamp_recordings.py
    rejection: "It is slow."    # optional; of a feature that a person's rejection has become: the
                                # reason that it answers, for scripts/stamp_recordings.py
    repeat: false               # optional; true plays the last turn for ever (an endless loop)
    when: "name .* blanks"      # optional regex; `turns` are what is said when the first message
                                # has it, and `otherwise`, a list like `turns`, when it has not
    turns:                      # turn n answers the attempt's n-th question
      - content:
          - text: "I look at the project first."
          - {tool: bash, command: "ls -R && cat README.md"}
      - expect: "def main"      # optional regex (re.search, multi-line), found in the text of
        content:                # the latest user message: what the tools answered last
          - tool: edit
            command: create
            path: app/disk.py
            text: |
              def free(path): ...
          - {tool: bash, command: "python -m pytest -q"}
      - expect: "[0-9]+ passed"
        content:
          - {tool: submit, summary: "Added app/disk.py with tests."}
    asides:                     # optional; answers to questions about the attempt, in real
      - about: "a9f3..."        # recordings: what its failure teaches, by the pattern's id
        content: [{text: '{"title": "..."}'}]

A content entry is one of
- `{text: "..."}`: what the model says;
- `{tool: NAME, ...}`: a tool call; all other keys are its input (`command` for bash;
  `command`, `path` and `text` | `old`, `new` | `line`, `text` | `start`, `end` for edit;
  `summary` for submit);
- a block of the Messages API with its `type`, as real recordings have; a `tool_use` block may
  leave out its `id`, which is then made from turn and position.

A turn may also have `stop_reason` (default `tool_use` when it calls a tool, else `end_turn`),
`usage: {input, output, cache_read, cache_write}` in tokens, `cost_usd`, and `model` where another
one than usual said it. Usage and cost are kept only from a real run (`source: recorded`) and say
what it cost then, where they are missing that nobody knows. Playing costs nothing.

The guards: the digest of the feature section it is asked must equal `task`, each `expect` must
be found, and there must be a turn left. Whatever fails raises `RecordingMismatchError`.
`when` is how a person writes down that a model heeds what it was told: what is played depends on
nothing but the prompt. A real model's recording has none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.agents.prompts import find_section, section_digest
from harness.ports import ASIDE, ModelReply, ModelRequest
from orchestrator.errors import RecordingMismatchError
from orchestrator.values import AttemptKey, Tier, Usage

Source = Literal["recorded", "scripted"]

ANY = "any.yaml"
REMEDY = (
    "If the feature was changed on purpose, run scripts/stamp_recordings.py FEATURE_LIST FOLDER"
)

_SOURCE_LINE = re.compile(r"^source:\s*['\"]?(\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer, ready to be given."""

    content: tuple[Mapping[str, Any], ...]
    stop_reason: str
    expect: re.Pattern[str] | None = None
    usage: Usage | None = field(default_factory=Usage)
    cost_usd: float | None = 0.0
    model: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """One attempt's side of the conversation."""

    path: Path
    source: Source
    model: str
    task: str
    turns: tuple[Turn, ...]
    repeat: bool = False
    when: re.Pattern[str] | None = None
    otherwise: tuple[Turn, ...] = ()
    rejection: str = ""
    asides: Mapping[str, Turn] = field(default_factory=dict)

    def aside(self, question: str) -> Turn | None:
        """The answer to a question about the attempt; None where nobody was asked it."""
        return next((turn for about, turn in self.asides.items() if about in question), None)

    def turn(self, number: int, first: str = "") -> Turn | None:
        """The answer to question `number` (from 1) of a conversation that began with the text
        `first`; None when there is none left."""
        told = self.when is None or self.when.search(first)
        turns = self.turns if told else self.otherwise
        if number <= len(turns):
            return turns[number - 1]
        return turns[-1] if turns and self.repeat else None


class RecordedModel:
    """A `Model` that answers from a folder of recordings. It keeps no state between questions:
    the attempt and the turn choose the answer, so a resumed attempt goes on where it was.
    """

    source: Literal["live", "recorded", "scripted"]

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[Path, Recording] = {}
        self.source = _source_of(folder)

    def model_id(self, tier: Tier) -> str:
        """No model is asked, so no model is named."""
        return f"{self.source}-{tier}"

    def worst_case_usd(self, request: ModelRequest) -> float | None:  # noqa: ARG002 - the port's
        return 0.0

    async def close(self) -> None:
        self._known.clear()

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Raises `RecordingMismatchError` when it is asked what it was not made for."""
        recording = self._recording(request.key)
        where = f"recording {recording.path}"
        if request.turn == ASIDE:
            return _aside(recording, request)
        _guard_task(recording, request)
        turn = recording.turn(request.turn, "\n".join(_texts(request.messages[0]["content"])))
        if turn is None:
            raise RecordingMismatchError(
                f"{where} has {len(recording.turns)} turns and was asked for turn {request.turn}. "
                "End it with a submit, or let its last turn repeat"
            )
        latest = _latest_text(request)
        if turn.expect is not None and not turn.expect.search(latest):
            raise RecordingMismatchError(
                f"{where}, turn {request.turn}: expected to be asked something that matches "
                f"{turn.expect.pattern!r}, but was asked: {latest[-600:]!r}. It has no other "
                "answer; with --live a model is asked"
            )
        return _reply(recording, turn, request)

    def _recording(self, key: AttemptKey) -> Recording:
        own = self._folder / key.feature / f"{key.name}.yaml"
        path = own if own.is_file() else own.with_name(ANY)
        if not path.is_file():
            raise RecordingMismatchError(
                f"there is no recording for attempt {key}: neither {own} nor {path.name} beside it"
            )
        if path not in self._known:
            self._known[path] = load(path)
        return self._known[path]


def _aside(recording: Recording, request: ModelRequest) -> ModelReply:
    turn = recording.aside(_latest_text(request))
    if turn is None:
        raise RecordingMismatchError(f"recording {recording.path} has no answer to that question")
    return _reply(recording, turn, request)


def _reply(recording: Recording, turn: Turn, request: ModelRequest) -> ModelReply:
    return ModelReply(
        content=_with_ids(turn.content, request.turn),
        stop_reason=turn.stop_reason,
        model=turn.model or recording.model,
        usage=turn.usage,
        cost_usd=turn.cost_usd,
        source=recording.source,
    )


def load(path: Path) -> Recording:
    """Reads one recording. Raises `RecordingMismatchError` saying what is wrong with the file."""
    import yaml  # noqa: PLC0415 - late, for it costs start-up

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where built
    try:
        data = yaml.load(path.read_text("utf-8"), loader)  # noqa: S506 - both loaders are safe
        source = data.get("source", "scripted")
        if source not in ("recorded", "scripted"):
            raise ValueError(f"source is {source!r}, not recorded or scripted")
        turns = tuple(_turn(turn, real=source == "recorded") for turn in data["turns"])
        if not turns:
            raise ValueError("turns is empty")
        when = data.get("when")
        otherwise = data.get("otherwise", [])
        if (when is None) != (not otherwise):
            raise ValueError("`when` and `otherwise` belong together")
        return Recording(
            path=path,
            source=source,
            model=str(data.get("model", source)),
            task=str(data.get("task", "")),
            turns=turns,
            repeat=bool(data.get("repeat", False)),
            when=re.compile(str(when), re.MULTILINE) if when is not None else None,
            otherwise=tuple(_turn(turn, real=source == "recorded") for turn in otherwise),
            rejection=str(data.get("rejection", "")),
            asides={
                str(turn["about"]): _turn(turn, real=source == "recorded")
                for turn in data.get("asides", [])
            },
        )
    except (
        yaml.YAMLError,
        re.error,
        OSError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as e:
        raise RecordingMismatchError(
            f"recording {path} cannot be read: {type(e).__name__}: {e}"
        ) from e


def _turn(data: Mapping[str, Any], *, real: bool) -> Turn:
    content = tuple(_block(block) for block in data["content"])
    calls = any(block["type"] == "tool_use" for block in content)
    expect, usage, cost = data.get("expect"), data.get("usage"), data.get("cost_usd")
    return Turn(
        content=content,
        stop_reason=str(data.get("stop_reason", "tool_use" if calls else "end_turn")),
        expect=re.compile(str(expect), re.MULTILINE) if expect is not None else None,
        usage=_known(usage) if real else Usage(),
        cost_usd=(None if cost is None else float(cost)) if real else 0.0,
        model=str(data.get("model", "")),
    )


def _known(usage: Mapping[str, int] | None) -> Usage | None:
    return None if usage is None else Usage(**usage)


def _block(data: Mapping[str, Any]) -> Mapping[str, Any]:
    if "type" in data:
        return dict(data)
    if "tool" in data:
        given = {name: value for name, value in data.items() if name != "tool"}
        return {"type": "tool_use", "name": str(data["tool"]), "input": given}
    return {"type": "text", "text": str(data["text"])}


def _with_ids(content: tuple[Mapping[str, Any], ...], turn: int) -> tuple[Mapping[str, Any], ...]:
    return tuple(
        {"id": f"toolu_{turn:03d}_{n}", **block} if block["type"] == "tool_use" else block
        for n, block in enumerate(content)
    )


def _guard_task(recording: Recording, request: ModelRequest) -> None:
    section = find_section(request.messages)
    asked = section_digest(section) if section is not None else "no feature section at all"
    if recording.task != asked and recording.rejection:
        raise RecordingMismatchError(
            f"recording {recording.path} answers one rejection alone, and not this one: "
            f"{recording.rejection!r}. Reject with these words, or have a model asked with --live"
        )
    if recording.task != asked:
        raise RecordingMismatchError(
            f"recording {recording.path} was made for the task {recording.task or '(not stamped)'} "
            f"and was asked {asked}. {REMEDY}"
        )


def _latest_text(request: ModelRequest) -> str:
    """All text of the last message, tool results included."""
    return "\n".join(_texts(request.messages[-1]["content"]))


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    found: list[str] = []
    for block in content:
        found += [block["text"]] if "text" in block else _texts(block.get("content", ()))
    return found


def _source_of(folder: Path) -> Source:
    """`recorded` when every recording is; one that a person wrote makes the whole scripted."""
    files = sorted(folder.glob("*/*.yaml")) if folder.is_dir() else []
    found = [_SOURCE_LINE.search(path.read_text("utf-8", "replace")) for path in files]
    real = files and all(match is not None and match.group(1) == "recorded" for match in found)
    return "recorded" if real else "scripted"
