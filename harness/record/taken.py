"""How the attempt at hand was taken from the queue of a fleet, for whatever writes on its behalf.

Held in a context variable: it follows the attempt through every task and thread that works for
it, and nothing that a frozen process does later can borrow the session of another attempt.
"""

from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Taken:
    """`session`: under which, so that its end fences the work off. `generation`: from 1, how
    often the attempt was taken; each has a folder of its own until it has ended."""

    session: str
    generation: int


current: ContextVar[Taken | None] = ContextVar("fibreflow_taken", default=None)


def by_nobody() -> Context:
    """A context for what several attempts share: the fence of the first of them to ask must not
    turn the others away, which were taken under another session perhaps."""
    context = copy_context()
    context.run(current.set, None)
    return context


def folder_name(name: str) -> str:
    """Of an attempt's folder while it is at work here: `r1-a01`, in a fleet `r1-a01.g2`."""
    taken = current.get()
    return name if taken is None else f"{name}.g{taken.generation}"


def generation() -> int:
    """How often the attempt at hand was taken; 0 without a fleet."""
    taken = current.get()
    return 0 if taken is None else taken.generation
