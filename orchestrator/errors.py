"""The error tree: each class says whose fault it is and which exit code it ends in.

    FibreFlowError
    ├── InputError                      2  the user's files or flags; names the entry and the remedy
    │   ├── FeatureListError               every problem of one feature list at once
    │   └── SlaFileError                   every problem of one data_layer_slas.yaml at once
    ├── MachineError                    5  this machine cannot do what was asked; what to install
    │   ├── SandboxUnavailableError        isolation cannot be had here
    │   ├── SlaViolatedError               data that a run or feature needs is not fresh
    │   ├── TakenOverError                 another process does this work now
    │   └── WorkspaceLockedError           another run owns this workspace
    ├── LimitReachedError               4  a budget, quota or time limit; nothing is wrong
    ├── PlanError                          a planner's document was not usable, or was refused
    ├── DeployError                        a release could not be brought up, made live or undone
    ├── DeliveryError                      a notice did not reach the people it is for
    ├── ProbeError                         an SLA's value could not be measured: no data
    ├── SandboxError                       the sandbox failed, not the command run in it
    │   ├── SandboxGoneError               it was destroyed or its process died
    │   └── SandboxOutdatedError           it was made from what the base was before
    ├── ModelError                         the model could not be asked or did not answer
    │   ├── ModelUnreachableError       4  never connected: nothing was asked; stops the run
    │   ├── ModelOverloadedError        4  5xx, 529: try again later; when it stays, stops the run
    │   ├── ModelRateLimitedError       4  429: try again when told to; when it stays, stops the run
    │   ├── ModelTimeoutError              no answer, or a stream cut in the middle
    │   ├── ModelMalformedError            an answer that breaks the protocol
    │   ├── ModelContextTooLongError       the conversation no longer fits
    │   ├── ModelRefusedError              it declined; asking again will not help
    │   ├── ModelRejectedError             400: the request itself is wrong; our fault
    │   ├── ModelUnauthorizedError      5  401, 403: stops the run
    │   ├── ModelQuotaExhaustedError    4  credit or subscription limit; pauses or stops the run
    │   └── RecordingMismatchError         a recording was asked something it was not made for
    ├── PatchRejectedError                 a patch that must not be applied
    ├── MergeRefusedError                  a conflict, or a merged tree that is red
    ├── TicketError                        the code host refused, or a ticket cannot be worked on
    │   └── NotPermittedError              who asked for it may not
    └── GitError                           git failed where it should not have

A command that exits 1 is a value, never an error: see `ExecResult` in `harness.ports`.
"""


class FibreFlowError(Exception):
    """Root of every error this project raises on purpose."""

    exit_code = 1


class InputError(FibreFlowError):
    """The user's files or flags are wrong. The message names the entry and the remedy."""

    exit_code = 2


class FeatureListError(InputError):
    """One feature list, all its problems at once.

    `problems` are finished lines for a person: where (line, id), what, and what to do.
    """

    def __init__(self, source: str, problems: tuple[str, ...]) -> None:
        self.source = source
        self.problems = problems
        super().__init__(_told(source, problems))


class SlaFileError(InputError):
    """One data_layer_slas.yaml, all its problems at once; `problems` as in `FeatureListError`."""

    def __init__(self, source: str, problems: tuple[str, ...]) -> None:
        self.source = source
        self.problems = problems
        super().__init__(_told(source, problems))


def _told(source: str, problems: tuple[str, ...]) -> str:
    count = f"{len(problems)} problem" + ("s" if len(problems) != 1 else "")
    return "\n".join([f"{source}: {count}", *(f"  {p}" for p in problems)])


class ProbeError(FibreFlowError):
    """An SLA's value could not be measured; the message says why. The SLA has no data then."""


class PlanError(FibreFlowError):
    """No plan came of a goal: a role's document was sent back too often, or a person refused."""


class DeployError(FibreFlowError):
    """A release could not be brought up, made live, tested, or undone."""


class DeliveryError(FibreFlowError):
    """A notice did not go out. `retry_after`: how long the route asks to wait, in seconds.
    `unsure`: it may have arrived all the same."""

    def __init__(
        self, message: str, *, retry_after: float | None = None, unsure: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.unsure = unsure


class MachineError(FibreFlowError):
    """This machine cannot do what was asked. The message says what to install or pass."""

    exit_code = 5


class SandboxUnavailableError(MachineError):
    """Isolation of the kind asked for cannot be had on this machine."""


class SlaViolatedError(MachineError):
    """Data that the work needs is not as fresh as promised; the message names the SLAs."""


class TakenOverError(MachineError):
    """This process was thought dead, and others took its work over: it may write nothing more."""


class WorkspaceLockedError(MachineError):
    """Another live process owns this workspace."""


class LimitReachedError(FibreFlowError):
    """A budget, quota or time limit was reached; the message says which and until when."""

    exit_code = 4


class SandboxError(FibreFlowError):
    """The sandbox itself failed; nothing is said about the command that ran in it."""


class SandboxGoneError(SandboxError):
    """The sandbox was destroyed, or the process that holds it died."""


class SandboxOutdatedError(SandboxError):
    """A sandbox of this name was made from another base: of another commit, setup or version."""


class ModelError(FibreFlowError):
    """The model could not be asked, or did not answer. `retry_after` is in seconds.

    `reply_begun`: part of an answer had come, so the provider may charge for it.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, reply_begun: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.reply_begun = reply_begun


class ModelUnreachableError(ModelError):
    """No connection came about (refused, DNS, TLS, proxy), so nothing was asked or charged."""

    exit_code = 4


class ModelOverloadedError(ModelError):
    """The provider is overloaded or failing (5xx, 529)."""

    exit_code = 4


class ModelRateLimitedError(ModelError):
    """Too many requests or tokens (429); `retry_after` when the provider said so."""

    exit_code = 4


class ModelTimeoutError(ModelError):
    """No answer in time, a lost connection, or a stream cut in the middle."""


class ModelMalformedError(ModelError):
    """The answer breaks the protocol, such as a tool call whose input is not JSON."""


class ModelContextTooLongError(ModelError):
    """The conversation no longer fits into the model's context."""


class ModelRefusedError(ModelError):
    """The model declined. Asking again will not help."""


class ModelRejectedError(ModelError):
    """The provider calls the request itself invalid (400, 404, 413)."""


class ModelUnauthorizedError(ModelError):
    """The key is missing, wrong or not allowed. Stops the run."""

    exit_code = 5


class ModelQuotaExhaustedError(ModelError):
    """Credit or a subscription limit is used up."""

    exit_code = 4


class RecordingMismatchError(ModelError):
    """A recording was asked something it was not made for, or has nothing more to say."""


class PatchRejectedError(FibreFlowError):
    """A patch that does not apply, or that must not be applied."""


class MergeRefusedError(FibreFlowError):
    """The winner conflicts with the branch, or the merged tree is red."""


class TicketError(FibreFlowError):
    """The code host refused or did not answer, or a ticket's work may not begin or be handed
    over. `status`: its HTTP status, 0 without one."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NotPermittedError(TicketError):
    """Somebody asked for work who may not; nothing failed, and nothing was begun."""


class GitError(FibreFlowError):
    """git failed where it should not have. The message carries its standard error."""
