"""Plays a model of mixed ability that restores deleted functions, deciding by the request alone.

The first turn draws a number in the sandbox; the answer to it, which is part of every later
request, decides what this attempt writes. Told why earlier attempts failed, it writes it right;
at the first feature it fails until then, so that every run has something to refuse.
"""

import base64
import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tests.existing.deletions import Deleted
from tests.existing.mutations import Answer, answers

_DRAW = "cat /proc/sys/kernel/random/uuid"
_LESSONS = "Earlier attempts at this feature failed"
_LEARNED = "What earlier attempts, here or elsewhere, ran into."
_FEATURE = re.compile(r'<feature id="([^"]+)">')
_ACCEPTANCE = re.compile(r"each must exit 0:\n((?:- .*\n)+)")
_WRITE = """import base64, sys
path, old, new = sys.argv[1], *map(base64.b64decode, sys.argv[2:])
data = open(path, "rb").read()
assert data.count(old) == 1
open(path, "wb").write(data.replace(old, new))
"""


class Restorer:
    """Call it with a request of the Messages API; it gives the content blocks of the reply."""

    def __init__(self, deleted: Sequence[Deleted], seed: int) -> None:
        self._known: Mapping[str, tuple[Deleted, tuple[Answer, ...]]] = {
            one.id: (one, answers(one.function, seed)) for one in deleted
        }
        self._hard = deleted[0].id

    def __call__(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        messages = request["messages"]
        first = "\n".join(block["text"] for block in messages[0]["content"])
        asked, acceptance = _FEATURE.search(first), _ACCEPTANCE.search(first)
        if asked is None or acceptance is None:
            return [_say("Nothing to add.")]  # asked for a lesson, not for work
        one, choice = self._known[asked[1]]
        results = [_result(message) for message in messages[2::2]]
        if not results:
            return [_say("I look first."), _bash(_DRAW)]
        hard = one.id == self._hard
        warned = _LESSONS in first or (hard and _LEARNED in first)
        if hard and not warned:
            choice = choice[-2:]
        answer = choice[0] if warned else choose(choice, results[0][0])
        commands = acceptance[1]
        steps = [*_writing(one, answer, results[1:2]), _bash(commands.strip()[2:])]
        if len(results) - 1 < len(steps):
            return [steps[len(results) - 1]]
        return [_call("submit", {"summary": f"wrote {one.function.name}"})]


def choose(choice: Sequence[Answer], drawn: str) -> Answer:
    """The first two times in five, else one of the others, each as likely."""
    number = int(hashlib.sha256(drawn.encode()).hexdigest(), 16)
    if number % 5 < 2:
        return choice[0]
    return choice[1 + number // 5 % (len(choice) - 1)]


def _writing(
    one: Deleted, answer: Answer, edited: Sequence[tuple[str, bool]]
) -> list[dict[str, Any]]:
    """The edit tool; where it refuses, as for a file that is not UTF-8, bytes by a script."""
    function = one.function
    try:
        old, new = function.stub.decode("utf-8"), answer.text.decode("utf-8")
    except UnicodeDecodeError:
        return [_script(one, answer)]
    first = _call("edit", {"command": "replace", "path": function.path, "old": old, "new": new})
    refused = bool(edited) and edited[0][1]
    return [first, _script(one, answer)] if refused else [first]


def _script(one: Deleted, answer: Answer) -> dict[str, Any]:
    words = [base64.b64encode(text).decode() for text in (one.function.stub, answer.text)]
    return _bash(shlex.join(["python3", "-c", _WRITE, one.function.path, *words]))


def _result(message: Mapping[str, Any]) -> tuple[str, bool]:
    """Text and whether it is an error, of the one tool result of a message."""
    (block,) = (b for b in message["content"] if b["type"] == "tool_result")
    content = block["content"]
    text = content if isinstance(content, str) else "".join(part["text"] for part in content)
    return text, bool(block.get("is_error"))


def _say(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _bash(command: str) -> dict[str, Any]:
    return _call("bash", {"command": command})


def _call(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "name": name, "input": dict(given)}
