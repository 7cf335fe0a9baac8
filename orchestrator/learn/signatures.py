"""Turns a failed attempt into signatures: names under which the same failure is known again.

The order of evidence is Sentry's, as published: what our own verification says explicitly, the
innermost frame inside the repository, the error's type, the message. `VERSION` is part of every
signature: a changed algorithm makes new ones instead of miscounting old ones.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.evidence import BY_EXIT
from orchestrator.learn import frames
from orchestrator.learn.failure_kinds import Kind, kind_of
from orchestrator.learn.masking import MOST, mask, redact

VERSION = 1

#: One attempt fails in few ways that matter; its acceptance commands come first.
MAX_SIGNATURES = 4

#: What disqualifies nothing, or only follows from something else.
_REMARKS = ("not run:", "changes files outside its scope:")
_ENDING_REMARKS = (BY_EXIT,)
#: The harness's own failures: they say nothing about the attempt.
_OURS = ("not verified:", "the sandbox failed", "the harness failed", "RecordingMismatchError")

_MORE = re.compile(r" \(and \d+ more\)$")
_TEST_ID = re.compile(r"(?P<test>[^\s:][^:\n]*\.py(?:::[^\s:\[]+(?:\[.*?\])?)+): ")
_PLACE = re.compile(r"^(?P<file>[\w./-]+\.\w+):\d+: ")
_ERROR = re.compile(r"^(?P<error>[A-Za-z_][\w.]*(?:Error|Exception|Exit|Warning|Disconnected)): ?")
_UNITTEST = re.compile(r"^(?:FAIL|ERROR): (?P<name>\S+) \((?P<where>[\w.]+)\)", re.MULTILINE)
_EXIT = re.compile(r"^exit \d+: ")


@dataclass(frozen=True, slots=True)
class Signature:
    """`kind` of `failure_kinds`, `error` its type as raised, `where` the innermost frame inside
    the repository (`module:function`), `message` masked. `test`, a failing test's id, is kept
    beside it and is not part of `key`: one mistake fails many tests.
    """

    kind: str
    error: str = ""
    where: str = ""
    message: str = ""
    test: str = ""
    version: int = VERSION

    @property
    def key(self) -> str:
        """`v1-` and 16 hex digits."""
        parts = "\0".join((self.kind, self.error, self.where, self.message))
        return f"v{self.version}-{hashlib.sha256(parts.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Failed:
    """What is known of an attempt that did not pass, all of it untrusted text.

    `ending` and `reason` as in `AttemptResult`; `problems` as in `Verification`, empty when
    there was nothing to verify; `output` is what the commands printed, `roots` the absolute
    folders that the repository had when they ran.
    """

    ending: str = "submitted"
    reason: str = ""
    problems: tuple[str, ...] = ()
    output: str = ""
    commands: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()


def sign(failed: Failed) -> tuple[Signature, ...]:
    """Its distinct signatures, the most telling first; empty when the failure was ours."""
    told = telling(failed.problems)
    found = [s for p in told if (s := _of_problem(p, failed)) is not None]
    if not told and failed.ending in {"limit", "error", "submitted"}:
        found = _of_ending(failed)
    return tuple({s.key: s for s in reversed(found)}.values())[::-1][:MAX_SIGNATURES]


def telling(problems: Sequence[str]) -> list[str]:
    """Those of a verification's lines that say what failed, the first few, bounded."""
    return [
        p[:MOST]
        for p in problems[:20]
        if not p.startswith(_REMARKS) and not p.endswith(_ENDING_REMARKS)
    ]


def of_merge(reason: str) -> Signature:
    """A winner that was refused: a conflict, or a tree that is red on the branch."""
    _, _, why = reason.partition(": ")
    kind = kind_of("merge", reason)
    inner = _parse(why) if "red on the branch" in reason else None
    test = inner[2] if inner else ""
    return Signature(kind.name, "merge", "", mask(inner[1] if inner else reason), test)


def of_review(reason: str) -> Signature:
    """A person turned an attempt down, for this reason."""
    return Signature("review-rejection", "review", "", mask(reason))


def _of_ending(failed: Failed) -> list[Signature]:
    if failed.reason.startswith(_OURS) or failed.ending == "submitted":
        return []
    if failed.ending == "error":
        error, _, message = failed.reason.partition(": ")
        kind = kind_of(error, message)
        return [Signature(kind.name, error, "", mask(message))] if kind.name != "other" else []
    # How much of a limit there was is the list's affair: 20 turns or 60 are the same failure.
    return [Signature(kind_of("limit", failed.reason).name, "limit", "", mask(failed.reason))]


def _of_problem(problem: str, failed: Failed) -> Signature | None:
    if problem.startswith(_OURS):
        return None
    command = next((c for c in failed.commands if problem.startswith(f"{c}: ")), "")
    rest = problem[len(command) + 2 :] if command else problem
    if not command and kind_of("", rest).name in _EXPLICIT:
        return _explicit(kind_of("", rest), rest)
    error, message, test = _parse(rest)
    if not test:
        known = kind_of(error, message).name
        if known in _EXPLICIT:
            return Signature(known, "", "", mask(_MORE.sub("", message)))
        test = _unittest(failed.output)
    raised = frames.read(failed.output, failed.roots, test)
    if raised is not None and _same(raised, error):
        error, message = raised.error or error, raised.message or message
    elif not error:
        message = _telling(message)
    where = frames.innermost(raised) if raised is not None else None
    for root in failed.roots:
        message = message.replace(f"{root.rstrip('/')}/", "")
    kind = kind_of(error, message)
    text = mask(message, values=kind.by_value)
    return Signature(kind.name, error.rpartition(".")[2], where.place if where else "", text, test)


#: Kinds that our own verification words: their message names files, which are the evidence.
_EXPLICIT = frozenset(
    {
        "protected-files", "secret-in-patch", "unsafe-patch", "does-not-apply", "dishonest-run",
        "regression", "own-tests-fail", "nothing-ran", "timeout",
    }
)  # fmt: skip


def _explicit(kind: Kind, text: str) -> Signature:
    """`changes protected files: a, b` is one failure whichever files they are."""
    head, _, rest = text.partition(": ")
    test = rest.split(", ")[0] if kind.name in {"regression", "own-tests-fail"} else ""
    return Signature(kind.name, "", "", mask(head), test)


def _parse(text: str) -> tuple[str, str, str]:
    """Error type, message and test id of one line of a verification; each may be empty."""
    test = ""
    found = _TEST_ID.search(text)
    if found is not None and found.start() == 0:
        test, text = found["test"], text[found.end() :]
    text = _MORE.sub("", text)
    text = _PLACE.sub("", text)
    error = _ERROR.match(text)
    if error is None:
        return "", text, test
    return error["error"], text[error.end() :], test


def _same(raised: frames.Raised, error: str) -> bool:
    """Whether what was found in the output is what the verification's line speaks of."""
    return not error or raised.error.rpartition(".")[2] == error.rpartition(".")[2]


def _telling(message: str) -> str:
    """Of the last lines that a command printed, joined by ` | `, the first that says something."""
    head = _EXIT.match(message)
    pieces = message[head.end() :].split(" | ") if head else [message]
    plain = {"other", "failed-command"}
    return next((p for p in pieces if kind_of("", p).name not in plain), message)


def _unittest(output: str) -> str:
    found = _UNITTEST.search(output[-frames.MOST :])
    return found["where"] if found is not None else ""


def shown(problem: str, limit: int = 300) -> str:
    """A problem as it may be quoted to a model: without secrets, on one line, bounded."""
    return redact(" ".join(problem[: 4 * limit].split()))[:limit].rstrip()
