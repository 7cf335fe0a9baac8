"""What each error means for the work: its cause, whose fault it is, and whether to try again.

One table keyed by our own classes. Adapters translate foreign errors into those classes, so
no other place of the project decides by a vendor's exception, status or message.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from orchestrator import errors as e

Blame = Literal["provider", "model", "harness", "user"]


@dataclass(frozen=True, slots=True)
class Failure:
    """What to do about one class of error.

    `tries` is the most calls in all, the first included; `first` and `most` bound the wait
    between two of them in seconds, doubling; `patience` bounds the sum of the waits, and `pause`
    does where the provider itself says how long (then that is a plan, and no hope).
    `stops_run`: the error that is left in the end concerns the run, not the attempt that met it.
    `elsewhere`: seconds of nothing but failures after which another model is asked, where the tier
    has one (see `orchestrator.routing.chains`); None: never, for it would not help.
    `reply_lost`: the provider may have worked and charged, so its cost is unknown, not zero.
    """

    cause: str
    blame: Blame
    tries: int = 1
    first: float = 0.0
    most: float = 0.0
    patience: float = 0.0
    pause: float = 0.0
    stops_run: bool = False
    reply_lost: bool = False
    elsewhere: float | None = None

    @property
    def retry(self) -> bool:
        """Whether it is worth another try when nobody says when."""
        return self.tries > 1 and self.patience > 0


#: Seconds that a run pauses for a limit whose end is known: a night, and more than the five hours
#: of a subscription's window. What lasts longer stops the run, with nothing lost.
NIGHT = 12 * 3600.0

TABLE: Mapping[type[e.FibreFlowError], Failure] = {
    e.FibreFlowError: Failure("an error of the harness", "harness"),
    e.InputError: Failure("wrong input", "user", stops_run=True),
    e.FeatureListError: Failure("wrong feature list", "user", stops_run=True),
    e.SlaFileError: Failure("wrong SLA file", "user", stops_run=True),
    e.SlaViolatedError: Failure("data is not as fresh as promised", "user", stops_run=True),
    e.ProbeError: Failure("a probe could not measure", "provider"),
    e.PlanError: Failure("no plan came of the goal", "model"),
    e.DeployError: Failure("a deployment failed", "provider"),
    e.DeliveryError: Failure("a message was not delivered", "provider"),
    e.MachineError: Failure("this machine lacks something", "user", stops_run=True),
    e.SandboxUnavailableError: Failure("no isolation on this machine", "user", stops_run=True),
    e.TakenOverError: Failure("its work was taken over", "user", stops_run=True),
    e.WorkspaceLockedError: Failure("another run owns the workspace", "user", stops_run=True),
    e.LimitReachedError: Failure("a limit was reached", "user", stops_run=True),
    e.SandboxError: Failure("the sandbox failed", "harness"),
    e.SandboxGoneError: Failure("the sandbox is gone", "harness"),
    e.SandboxOutdatedError: Failure("the sandbox is of another base", "harness"),
    e.ModelError: Failure("the model could not be asked", "provider", reply_lost=True),
    # A network that is away says nothing about any attempt, and asking it is free: an hour
    # outlives a router's restart or a laptop's change of place. Then the run stops, with no
    # attempt used up, for a wrong address would be waited for in vain.
    e.ModelUnreachableError: Failure(
        "model unreachable",
        "provider",
        tries=90,
        first=1,
        most=120,
        patience=3600,
        stops_run=True,
        elsewhere=30,
    ),
    # An outage is usually over in minutes; about 15 of them, then the run stops: the next
    # attempt would meet the same provider.
    e.ModelOverloadedError: Failure(
        "provider failing",
        "provider",
        tries=20,
        first=2,
        most=120,
        patience=900,
        stops_run=True,
        elsewhere=30,
    ),
    # Limits are counted per minute by every provider we know: tries within one window are
    # wasted, so begin with seconds, reach the window's length, and keep that up for long. What
    # is limited for an hour is so for every attempt: the run stops, with none of them used up.
    e.ModelRateLimitedError: Failure(
        "rate limited",
        "provider",
        tries=40,
        first=5,
        most=90,
        patience=3600,
        pause=NIGHT,
        stops_run=True,
        elsewhere=120,
    ),
    e.ModelTimeoutError: Failure(
        "no answer, or a cut one",
        "provider",
        tries=5,
        first=1,
        most=30,
        patience=300,
        reply_lost=True,
        elsewhere=30,
    ),
    # Sampling again usually helps, waiting does not; each try is paid for, so few.
    e.ModelMalformedError: Failure(
        "an answer that breaks the protocol", "model", tries=3, patience=1, reply_lost=True
    ),
    e.ModelContextTooLongError: Failure("conversation too long", "harness"),
    e.ModelRefusedError: Failure("the model declined", "model", reply_lost=True),
    e.ModelRejectedError: Failure("the request is invalid", "harness"),
    e.ModelUnauthorizedError: Failure("the key is not accepted", "user", stops_run=True),
    # Waited for only where the provider says until when.
    e.ModelQuotaExhaustedError: Failure(
        "credit or quota used up", "user", tries=9, pause=NIGHT, stops_run=True, elsewhere=0
    ),
    e.RecordingMismatchError: Failure("a recording asked the wrong thing", "harness"),
    e.PatchRejectedError: Failure("a patch that must not be applied", "model"),
    e.MergeRefusedError: Failure("a merge that must not happen", "model"),
    e.NotPermittedError: Failure("somebody asked for work who may not", "provider"),
    e.TicketError: Failure("the code host refused, or the ticket cannot be worked on", "provider"),
    e.GitError: Failure("git failed", "harness"),
}

UNKNOWN = Failure("a defect of the harness", "harness", reply_lost=True)


def classify(error: BaseException) -> Failure:
    """The row of the error's nearest class; `UNKNOWN` for an error that is not of our tree."""
    for cls in type(error).__mro__:
        row = TABLE.get(cls)
        if row is not None:
            return row
    return UNKNOWN


def next_wait(
    failure: Failure, *, tries: int, waited: float, retry_after: float | None, jitter: float
) -> float | None:
    """Seconds to wait before the next try, or None when it is time to give up.

    `tries` were made, `waited` seconds went by between them; `jitter` is in 0..1. What the
    provider asks for is a lower bound: coming back earlier is never right. A demand beyond
    the row's patience gives up at once instead of sleeping through it.
    """
    if tries >= failure.tries or (retry_after is None and not failure.patience):
        return None
    # Half fixed, half random: many attempts limited together must not come back together.
    backoff = min(failure.first * 2.0 ** (tries - 1), failure.most) * (0.5 + jitter / 2)
    wait = backoff if retry_after is None else max(retry_after, 0.0) + jitter * failure.first
    patience = failure.patience if retry_after is None else max(failure.patience, failure.pause)
    return wait if waited + wait <= patience else None
