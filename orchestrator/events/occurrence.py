"""The root of all events: something that happened, once, written under a key of its own."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Event:
    """Root of all events. `time` is ISO 8601 in UTC; both it and `run` are set by the journal."""

    repeats: ClassVar[bool] = False  # True: every occurrence is a line of its own

    feature: str | None = None
    attempt: str | None = None  # the attempt's name within its feature, such as r1-a02
    time: str = ""
    run: str = ""

    @property
    def type(self) -> str:
        return type(self).__name__

    @property
    def key(self) -> str | None:
        """None where every occurrence counts."""
        if self.repeats:
            return None
        return "/".join(p for p in (self.type, self.feature, self.attempt, self.part) if p)

    @property
    def part(self) -> str:
        """What tells two events of one type, feature and attempt apart."""
        return ""
