"""What is said on GitHub: one status comment for each outcome, and the pull request's text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.reporting.wording import counted, markdown, money, one_line
from orchestrator.tickets.text import quoted
from orchestrator.tickets.ticket import LABEL, MARKER

Outcome = Literal[
    "patch",
    "review",
    "asks",
    "declined",
    "nothing",
    "failed",
    "limit",
    "unable",
    "stopped",
    "lost",
    "refused",
    "moved",
    "taken",
]
#: Those with a patch that somebody may look at.
WITH_PATCH: frozenset[Outcome] = frozenset({"patch", "review"})
#: Our labels for the state of an issue; one of them at a time.
STATES = {
    "patch": f"{LABEL}:review", "review": f"{LABEL}:review", "asks": f"{LABEL}:question",
}  # fmt: skip
BLOCKED = f"{LABEL}:blocked"
LABELS = frozenset({*STATES.values(), BLOCKED})


@dataclass(frozen=True, slots=True)
class Account:
    """How a ticket's work ended, as it is told. `reasons`, `evidence` and `unverified` are lines;
    costs in USD, `cost_usd` None is unknown. `run_url` leads to the job's log."""

    outcome: Outcome
    number: int
    reasons: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    summary: str = ""
    attempt: str = ""
    cost_usd: float | None = 0.0
    seconds: float = 0.0
    run_url: str = ""
    digest: str = ""
    text: str = ""  # `fingerprint` of the issue's text that was worked on


@dataclass(frozen=True, slots=True)
class Mark:
    """What an earlier round came to, for the next one to know; unseen in the status comment."""

    digest: str
    outcome: str
    text: str


_MARK = re.compile(
    r"^<!-- fibreflow:work ([0-9a-f]{16}) ([a-z]+) ([0-9a-f]{16}) -->$", re.MULTILINE
)


def mark(status: str) -> Mark | None:
    """Of our status comment; None without one, or for one that tells nothing."""
    found = _MARK.search(status)
    return Mark(*found.groups()) if found else None


_SAYS: dict[Outcome, tuple[str, str]] = {
    "patch": ("There is a draft pull request: {pull}.", "Review it; nothing merges by itself."),
    "review": (
        "There is a draft pull request, and a person has to decide: {pull}.",
        "Nothing trusted has decided for it; read it with care.",
    ),
    "asks": (
        "More is needed before work can begin.",
        "Answer in the text of the issue or in a comment, then comment `/fibreflow` again.",
    ),
    "declined": ("This was not worked on.", "A person should look at it."),
    "nothing": (
        "Nothing had to be changed, says the attempt.",
        "If that is wrong, say what is missing in a comment that begins with `/fibreflow`.",
    ),
    "failed": (
        "No attempt passed.",
        "Say more in a comment that begins with `/fibreflow`, perhaps with `--model opus` or "
        "`--attempts 3`, or take it over.",
    ),
    "limit": (
        "A budget or another limit was reached.",
        "Raise it: comment `/fibreflow --budget USD`.",
    ),
    "unable": ("The machine or its key could not do it.", "See the run's log, and mend it there."),
    "stopped": (
        "Work on this did not begin, or its result could not be handed over.",
        "Mend what is said above, then comment `/fibreflow` again.",
    ),
    "lost": (
        "The job that works ended without a result.",
        "See the run's log: it may have run out of time. Then comment `/fibreflow` again.",
    ),
    "refused": (
        "There is a patch, but it must not be handed over.",
        "A person should look at the run's artifact. Nothing was pushed.",
    ),
    "moved": (
        "The branch has commits that are not ours, so it was left alone.",
        "Merge or delete the branch, then comment `/fibreflow` again.",
    ),
    "taken": (
        "The branch's pull request is no draft of ours any more, so it was left alone.",
        "Make it a draft again or close it, then comment `/fibreflow` again.",
    ),
}


def status(account: Account, pull: str = "") -> str:
    """The issue's comment. Whatever came from a model or a stranger is escaped or quoted."""
    says, next_ = _SAYS[account.outcome]
    parts = [MARKER, f"**FibreFlow:** {says.format(pull=pull)}"]
    parts += _bullets("", account.reasons)
    parts += _bullets("Please say:", account.questions)
    parts.append(f"Next: {next_}")
    parts.append(_foot(account))
    if account.digest and account.text:
        parts.append(f"<!-- fibreflow:work {account.digest} {account.outcome} {account.text} -->")
    return "\n\n".join(part for part in parts if part) + "\n"


def pull_title(number: int, title: str) -> str:
    """GitHub shows a title as it is but for code and mentions: nothing need be escaped."""
    return f"Resolve #{number}: {_inert(one_line(title, 120))}"


def pull_body(account: Account) -> str:
    """What was done, why this attempt, evidence, cost, what was not verified."""
    done = [f"Resolves #{account.number}. A draft made by FibreFlow; it never merges."]
    if account.summary:
        done.append("What the attempt says it did (not checked):\n\n" + _quote(account.summary))
    parts = [
        *done,
        *_bullets(f"**Why this attempt** ({account.attempt or 'the only one'})", account.reasons),
        *_bullets("**Evidence**, gathered in sandboxes that the attempt never touched",
                  account.evidence),
        *_bullets("**Not verified**", account.unverified),
        _foot(account),
        f"<!-- fibreflow:work {account.digest} -->",
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def label(outcome: Outcome) -> str:
    return STATES.get(outcome, BLOCKED)


def _bullets(head: str, lines: Sequence[str]) -> list[str]:
    """Each line on its own, with nothing in it that would be markup, a link or a mention."""
    rows = "\n".join(f"- {_plain(line)}" for line in lines[:20])
    return [f"{head}\n\n{rows}" if head else rows] if rows else []


def _plain(line: str) -> str:
    return _inert(markdown(line, 300)).replace("://", ":\u2060//").replace("!--", "! --")


#: A merge closes what is named after certain words, in a squash by the title too.
_ISSUE = re.compile(r"(#|\bGH-)(?=\d)", re.IGNORECASE)


def _inert(line: str) -> str:
    """Nobody is called by it, and no other issue is closed."""
    return _ISSUE.sub("\\1\u2060", line.replace("@", "@\u2060"))


def _quote(text: str) -> str:
    plain = "\n".join(_plain(line.removeprefix("|")) for line in quoted(text).split("\n")[:20])
    return "\n".join(f"> {line}" for line in plain.split("\n"))


def _foot(account: Account) -> str:
    cost = "an unknown amount" if account.cost_usd is None else money(account.cost_usd)
    took = counted(round(account.seconds), "second")
    link = f" [The run]({account.run_url})." if account.run_url else ""
    return f"It cost {cost} and took {took}.{link}"
