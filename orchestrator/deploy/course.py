"""The course of a deployment: which step comes next, from what has happened so far.

    suite -> scan -> staging -> staging_smoke -> ask -> data -> production -> production_smoke
      -> switch -> confirm -> announce

Production is first brought up beside what is live; only `switch` makes it live. What fails after
`ask` is rolled back; what fails before has touched nothing but staging.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from orchestrator.approval import Strategy
from orchestrator.approval_requests import Standing

Step = Literal[
    "suite", "scan", "staging", "staging_smoke", "ask", "data", "production",
    "production_smoke", "switch", "confirm", "announce", "roll_back",
]  # fmt: skip
#: In their order. `roll_back` stands outside of it.
STEPS: tuple[Step, ...] = (
    "suite", "scan", "staging", "staging_smoke", "ask", "data", "production",
    "production_smoke", "switch", "confirm", "announce",
)  # fmt: skip
#: From here on production has been touched, and a failure has to be undone.
TOUCHED: tuple[Step, ...] = ("production", "production_smoke", "switch", "confirm")

#: `waiting`: for a person, or for fresh data. The others are ends.
Status = Literal[
    "going", "waiting", "live", "failed", "rejected", "expired", "superseded", "rolled_back"
]


@dataclass(frozen=True, slots=True)
class Taken:
    """One step that was taken: whether it went well, and in words what it found."""

    step: Step
    ok: bool
    detail: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """All that is known of one deployment. `strategy` is set by `ask`; `request` too, where a
    person is needed. `approved`: that person has approved. `waits`: for what, in words."""

    id: str
    run: str
    commit: str
    digest: str
    requester: str
    taken: tuple[Taken, ...] = ()
    strategy: Strategy | None = None
    request: str = ""
    approved: bool = False
    answer: Literal["", "rejected", "expired", "superseded"] = ""
    reason: str = ""
    waits: str = ""
    urls: tuple[tuple[str, str], ...] = ()

    def has(self, step: Step) -> bool:
        return any(t.step == step and t.ok for t in self.taken)

    @property
    def failure(self) -> Taken | None:
        return next((t for t in self.taken if not t.ok and t.step != "roll_back"), None)

    @property
    def may_promote(self) -> bool:
        """Whether production may be touched: never before the strategy is known."""
        return self.strategy in {"AUTO", "OPTIONAL"} or (
            self.strategy in {"REQUIRED", "EXPERT"} and self.approved
        )


def next_step(deployment: Deployment) -> Step | None:
    """What to do now; None when it waits for a person or has come to its end."""
    if deployment.answer:
        return None
    failed = deployment.failure
    if failed is not None:
        undone = any(t.step == "roll_back" for t in deployment.taken)
        return "roll_back" if failed.step in TOUCHED and not undone else None
    step = next((s for s in STEPS if not deployment.has(s)), None)
    if step is None or STEPS.index(step) <= STEPS.index("ask") or deployment.may_promote:
        return step
    return None


def status(deployment: Deployment) -> Status:
    if deployment.answer:
        return deployment.answer
    if deployment.failure is not None:
        if next_step(deployment) is not None:
            return "going"
        return "rolled_back" if deployment.has("roll_back") else "failed"
    if next_step(deployment) is None:
        return "live" if deployment.has("announce") else "waiting"
    return "waiting" if deployment.waits else "going"


def is_over(deployment: Deployment) -> bool:
    return status(deployment) not in {"going", "waiting"}


def take(deployment: Deployment, taken: Taken) -> Deployment:
    """With one more step. Raises `ValueError` for one that is not due: a mistake in the harness
    must not become a promotion."""
    if taken.step != next_step(deployment):
        raise ValueError(f"{taken.step} is not due in {deployment.id}")
    return replace(deployment, taken=(*deployment.taken, taken), waits="")


def gives_way(deployment: Deployment, head: str) -> bool:
    """Whether it is left for what the branch has now, commit `head`: while neither its risk nor a
    person has let it go to production. One that was approved goes there first."""
    return deployment.commit != head and not is_over(deployment) and not deployment.may_promote


def superseded(deployment: Deployment, reason: str) -> Deployment:
    """Left for a newer one, as `reason` says. Raises `ValueError` where production is open to it:
    what may be promoted is never left half-way."""
    if is_over(deployment) or deployment.may_promote:
        raise ValueError(f"{deployment.id} can no longer be left")
    return replace(deployment, answer="superseded", reason=reason)


def answered(deployment: Deployment, standing: Standing, reason: str = "") -> Deployment:
    """With what became of its request; unchanged while that is pending."""
    if standing == "pending" or not deployment.request or deployment.answer:
        return deployment
    if standing == "approved":
        return replace(deployment, approved=True)
    return replace(deployment, answer=standing, reason=reason)


#: What a run that ended with 0 ends with after its deployment.
EXIT_CODES: Mapping[Status, int] = {
    "live": 0, "waiting": 3, "going": 3, "failed": 1, "rejected": 1, "expired": 1,
    "superseded": 1, "rolled_back": 1,
}  # fmt: skip
