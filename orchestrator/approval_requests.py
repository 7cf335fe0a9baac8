"""A request for a person's approval, and which answers to it count."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.approval import Strategy

Verdict = Literal["approved", "rejected"]
#: What a request came to: by a person's verdict, or because what it is about was left behind.
Decision = Literal["approved", "rejected", "superseded"]
Standing = Literal["pending", "approved", "rejected", "expired", "superseded"]
#: The ways an answer comes in; `deploy`: it is withdrawn by whoever asks for something newer.
Way = Literal["cli", "web", "slack", "deploy"]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, bound to one commit and one artifact; times are seconds since the epoch.

    `id` names this request and no other. `facts` are name and text, for people: what was built,
    where staging is, what it cost.
    """

    id: str
    strategy: Strategy
    environment: str
    run: str
    commit: str
    digest: str
    requester: str
    asked: float
    expires: float
    reasons: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """`by` is a person's name as `People` has it, or as the way knows them. One that is
    `superseded` was withdrawn by nobody's verdict; `reason` says for what."""

    verdict: Decision
    by: str
    reason: str
    at: float
    way: Way


@dataclass(frozen=True, slots=True)
class People:
    """Who may answer. `approvers`: name -> further names of the same person, such as
    `slack:U012`. Empty: whoever can use the command line of this machine, which is its owner's.
    `experts` are names of approvers."""

    approvers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    experts: tuple[str, ...] = ()

    def person(self, name: str) -> str:
        """One name for one person, however they came in."""
        for person, others in self.approvers.items():
            if name == person or name in others:
                return person
        return name


def standing(request: Request, answer: Answer | None, now: float) -> Standing:
    """Where it stands; what nobody answered in time is refused."""
    if answer is not None:
        return answer.verdict
    return "expired" if now >= request.expires else "pending"


def refusal(
    request: Request, answer: Answer, people: People, *, commit: str = "", digest: str = ""
) -> str:
    """Why this answer does not count; empty when it does. `commit` and `digest`: what the
    person was shown, where the way carries it."""
    if answer.at >= request.expires:
        return "it came too late: the request has expired, which is a refusal"
    if (commit and commit != request.commit) or (digest and digest != request.digest):
        return "it is about another commit than the one that is asked for"
    if answer.verdict == "rejected":
        return "a rejection needs its reason" if not answer.reason.strip() else _no_approver(
            request, answer, people, rejecting=True
        )  # fmt: skip
    return _no_approver(request, answer, people, rejecting=False)


def _no_approver(request: Request, answer: Answer, people: People, *, rejecting: bool) -> str:
    who = people.person(answer.by)
    if not people.approvers:
        # Whoever reads this workspace's files is its owner, or has a link that the owner made.
        owns = answer.way in {"cli", "web"}
        return "" if owns else f"{answer.by} is no approver; none are configured"
    if who not in people.approvers:
        return f"{answer.by} is no approver"
    if rejecting:
        return ""  # whoever may approve may say no, also to what they asked for themselves
    if who == people.person(request.requester):
        return f"{answer.by} asked for it; somebody else has to approve"
    if request.strategy == "EXPERT" and who not in people.experts:
        return f"{answer.by} is no expert, and it needs one"
    return ""
