"""Whether a process can tell that others are dead, from the signs of life that it gave itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signs:
    """Signs since `steady` came without a gap, and the last at `last`, by a clock of this process
    that is never set; `offset`: that of the database's clock to it. All in seconds.

    Who was away itself, or whose database was, can tell nothing before all others had a lease to
    give a sign since; and as little when the database's clock jumped, or this machine slept.
    """

    steady: float
    last: float
    offset: float | None = None

    def given(self, now: float, there: float, lease: float) -> "Signs":
        """One more, at `now` here and `there` by the database's clock."""
        offset = there - now
        moved = self.offset is not None and abs(offset - self.offset) > lease / 2
        gap = now - self.last > lease / 2
        return Signs(now if gap or moved else self.steady, now, offset)

    def can_tell(self, now: float, lease: float) -> bool:
        """Whether at `now` whoever gave no sign for a lease is dead."""
        return now - self.steady > lease and now - self.last < lease / 2
