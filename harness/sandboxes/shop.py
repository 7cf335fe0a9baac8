"""What every sandbox of one local provider shares."""

from dataclasses import dataclass

from harness.ports import Observe
from harness.sandboxes.cgroup import Groups
from harness.sandboxes.guard import Guard
from harness.sandboxes.slots import Slots


@dataclass(frozen=True, slots=True)
class Shop:
    """`bwrap` and `shell` are paths of programs; `observe` is told of every connection that
    leaves a sandbox, or would."""

    guard: Guard
    slots: Slots
    groups: Groups
    bwrap: str
    shell: str
    observe: Observe | None = None
