"""Asks a person about a plan before work begins: an approval like every other, of kind plan."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from harness.approvals.store import ApprovalStore, Asked
from harness.cli.commands import user
from harness.fleet import books
from harness.notices import Notices
from harness.planner.papers import Papers, Plan
from harness.ports import Clock
from harness.record import files
from harness.record.journal import Journal
from harness.record.workspace import Workspace
from orchestrator import events
from orchestrator.approval_requests import People, Request
from orchestrator.errors import PlanError
from orchestrator.planner.course import Planned
from orchestrator.planner.documents import Comment, Document
from orchestrator.registry import ROLES, Kind
from orchestrator.reporting.wording import money

#: How `Request.environment` names a plan.
PLAN = "plan"
#: A plan that nobody has looked at for this long is refused. Seconds.
_EXPIRES = 24 * 3600.0


def store(workspace: Workspace, clock: Clock) -> ApprovalStore:
    """Where every approval of the workspace is kept, and whoever answers looks."""
    return books.approvals(workspace, clock)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be approved: documents, what they come to, and the list as it would be."""

    standing: Mapping[Kind, Document]
    made: Planned
    proposal: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.proposal.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Review:
    """`people`: who may answer. `head`: the commit that was planned for."""

    workspace: Workspace
    papers: Papers
    journal: Journal
    clock: Clock
    people: People
    head: str

    def verdict(
        self, plan: Plan, subject: Subject
    ) -> tuple[Plan, Literal["pending", "approved", "rejected"]]:
        """Where it stands, after asking and taking in what was answered. A rejection is in the
        documents then. Raises `PlanError` when nobody answered in time."""
        version = subject.standing[ROLES[0].writes].version
        # Named by what it is about: an answer to another plan is none to this one.
        request = f"plan-{plan.run}-{version + plan.expired}-{subject.digest[:6]}"
        asked = self._asked(plan, request, subject)
        if plan.request != request:
            why = "what is planned has changed since; it is asked for anew"
            store(self.workspace, self.clock).withdraw(plan.request, user(), why)
            files.replace(self.papers.folder(plan) / "feature_list.json", subject.proposal)
            plan = replace(plan, request=request)
            self.papers.store(plan)
        answer = asked.answer
        self.journal.write(
            events.PlanReviewed(
                request=request,
                verdict=asked.standing,
                by=answer.by if answer is not None else "",
                reason=answer.reason if answer is not None else "",
            )
        )
        if asked.standing in {"expired", "superseded"}:
            why = "nobody answered it in time" if answer is None else answer.reason
            self.papers.store(replace(plan, request="", expired=plan.expired + 1))
            raise PlanError(f"{request}: {why}; the same command asks again")
        if asked.standing == "rejected" and answer is not None:
            # Whatever it is about, the first role hears of it, and all write anew.
            first = subject.standing[ROLES[0].writes]
            said = (*first.comments, Comment(answer.by, answer.reason))
            self.papers.keep(plan, replace(first, comments=said))
            plan = replace(plan, request="")
            self.papers.store(plan)
            return plan, "rejected"
        return plan, "approved" if asked.standing == "approved" else "pending"

    def _asked(self, plan: Plan, request: str, subject: Subject) -> Asked:
        own = store(self.workspace, self.clock)
        if own.find(request) is None:
            text = f"{request} waits for approval before work begins: {plan.goal}"
            notices = Notices(self.workspace, self.clock)
            notices.tell(f"{request}/approval_needed", "approval_needed", text)
            own.ask(self._request(plan, request, subject), self.people)
        found = own.find(request)
        assert found is not None
        return found

    def _request(self, plan: Plan, request: str, subject: Subject) -> Request:
        folder, now = self.papers.folder(plan), self.clock.now()
        costs = [d.cost_usd for d in self.papers.documents(plan)]
        cost = money(sum(c or 0.0 for c in costs), None in costs)
        return Request(
            id=request,
            strategy="REQUIRED",
            environment=PLAN,
            run=plan.run,
            commit=self.head,
            digest=subject.digest,
            requester=user(),
            asked=now,
            expires=now + _EXPIRES,
            reasons=("the plan is to be seen before work begins",),
            facts=(
                ("goal", plan.goal),
                ("features", ", ".join(str(f["id"]) for f in subject.made.features)),
                ("documents", ", ".join(d.name for d in subject.standing.values())),
                ("where", str(folder)),
                ("cost", f"{cost} so far"),
            ),
        )
