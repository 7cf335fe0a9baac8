"""One piece of work on a ticket: what is known of it, where it happens, and its feature list."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cli.flags import RunOptions
from harness.ports import Model
from harness.record import files
from harness.tickets import intake
from harness.tickets.artifact import HandOver
from harness.tickets.settings import TicketSettings
from harness.tickets.triaging import TRIAGE_USD
from orchestrator.tickets import ticket as tickets
from orchestrator.tickets.comments import Outcome
from orchestrator.tickets.ticket import Ticket, Trigger
from orchestrator.tickets.triage import Triage


@dataclass(frozen=True, slots=True)
class Place:
    """Where it happens. `checkout`: the repository; `workspace`: kept between runs; `out`: the
    artifact's folder. `trusted`: who asked has been asked about already, at the keyboard.
    `connect`: a model that helps with triage; without one the rules alone decide. `noted` hears of
    every point between two steps. `author`: whom the job that writes does so as."""

    checkout: Path
    workspace: Path
    out: Path
    url: str
    token: str | None = None
    base: str = "HEAD"
    sandbox: str = "local"
    live: bool = True
    trusted: bool = False
    connect: Callable[[], Model] | None = None
    noted: Callable[[str], object] = lambda _point: None
    server: str = intake.SERVER
    author: str = "github-actions[bot]"


@dataclass(frozen=True, slots=True)
class Case:
    """`cost_usd`: what was spent on it before this, None when nobody knows. `lacking`: what was
    found of the draft that an earlier round of this very work has left, if there was one."""

    ticket: Ticket
    trigger: Trigger
    triage: Triage
    settings: TicketSettings
    base: str
    cost_usd: float | None = 0.0
    lacking: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return tickets.digest(self.ticket, self.trigger.orders, self.base)

    @property
    def name(self) -> str:
        """Of this round of it."""
        return f"{self.digest}-again" if self.lacking else self.digest

    @property
    def feature(self) -> str:
        return f"issue-{self.ticket.number}"

    @property
    def bug(self) -> bool:
        return self.triage.sort == "bug"

    @property
    def text(self) -> str:
        return tickets.fingerprint(self.ticket.title, self.ticket.body)

    @property
    def budget_usd(self) -> float:
        return self.trigger.orders.budget_usd or self.settings.budget_usd

    @property
    def left_usd(self) -> float:
        """What a run may cost; what an unknown call of the triage may have, is spent."""
        return self.budget_usd - (TRIAGE_USD if self.cost_usd is None else self.cost_usd)

    def hand_over(self, outcome: Outcome, **more: Any) -> HandOver:
        return HandOver(
            repo=self.ticket.repo, number=self.ticket.number, title=self.ticket.title[:500],
            base=self.base, digest=self.digest, text=self.text, outcome=outcome, **more,
        )  # fmt: skip


def folder_of(case: Case, place: Place) -> Path:
    """The workspace of its run."""
    return place.workspace / case.name


def options(case: Case, place: Place) -> RunOptions:
    """The ticket as a feature list of its own, and the flags to run it with."""
    orders, settings = case.trigger.orders, case.settings
    workspace = folder_of(case, place)
    project = {
        "name": case.ticket.repo, "repo": str(place.checkout.resolve()), "base": case.base,
        "branch": f"fibreflow-work/{case.name}", "setup": settings.setup, "test": settings.test,
        "protected": settings.protected or None,
    }  # fmt: skip
    kind = case.triage.sort
    body = {
        "version": 1,
        "project": {k: v for k, v in project.items() if v is not None},
        "defaults": {
            "attempts": orders.attempts or settings.attempts,
            "rounds": settings.rounds - bool(case.lacking), "budget_usd": case.left_usd,
            "timeout_minutes": settings.timeout_minutes,
        },
        "features": [{
            "id": case.feature, "category": kind,
            "description": tickets.description(case.ticket, orders, kind, case.lacking),
        }],
    }  # fmt: skip
    path = workspace / "feature_list.json"
    if not path.exists():  # else it is the same work, which goes on as it was begun
        files.replace_json(path, body)
    return RunOptions(
        workspace, path, autopilot=True, tier=orders.tier, sandbox=place.sandbox,
        live=place.live, screen="plain",
    )  # fmt: skip
