"""Says what a patch's own tests prove: that they fail without the change and pass with it."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.reporting.wording import counted, one_line

_MOST = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """One new test, run without and with the rest of the patch; None is skipped, or not known.

    `ran_before`: False when its file could not even be imported on the base. `why`: what it said
    when it failed there, hostile text.
    """

    test: str
    before: bool | None
    after: bool | None
    ran_before: bool = True
    why: str = ""

    @property
    def shows(self) -> bool:
        """It failed for what the base does, not for what it lacks, and passes now."""
        return self.before is False and self.ran_before and self.after is True

    @property
    def new(self) -> bool:
        """It passes with the change and did not without, for whatever reason."""
        return self.before is False and self.after is True


def told(seen: Sequence[Seen], *, bug: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Lines of what was shown, and of what was not. A test that passes on the base, or fails
    with the change, counts for nothing."""
    good = [s for s in seen if (s.shows if bug else s.new)]
    lines = [_line(s) for s in good[:_MOST]]
    if len(good) > _MOST:
        lines.append(f"and {counted(len(good) - _MOST, 'more test')} like these")
    return tuple(lines), _lacks(seen, found=bool(good), bug=bug)


def _line(s: Seen) -> str:
    how = f" ({one_line(s.why, 160)})" if s.why else ""
    return f"{one_line(s.test, 120)} fails without the change{how} and passes with it"


def _lacks(seen: Sequence[Seen], *, found: bool, bug: bool) -> tuple[str, ...]:
    lines = []
    if bug and not found:
        lines.append("the bug itself: no test of the patch fails without the change and passes")
    rows = (
        ("pass without the change too, and count for nothing", [s for s in seen if s.before]),
        ("fail with the change", [s for s in seen if s.after is False]),
        (
            "cannot be imported without the change, which shows no bug",
            [s for s in seen if bug and s.new and not s.ran_before],
        ),
    )
    for what, which in rows:
        if which:
            names = ", ".join(one_line(s.test, 120) for s in which[:_MOST])
            lines.append(f"tests that {what}: {names}")
    return tuple(lines)
