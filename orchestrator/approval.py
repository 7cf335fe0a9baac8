"""How much of a person a promotion to production needs, by its risk: one table of rules.

AUTO goes on by itself. OPTIONAL goes on as well, and asks people to look. REQUIRED waits for an
approver, EXPERT for one of the experts. The strictest rule that applies decides; what is not
known counts as risk. Settings make it stricter; milder only where the owner says so in words.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Strategy = Literal["AUTO", "OPTIONAL", "REQUIRED", "EXPERT"]
#: From the mildest to the strictest.
STRATEGIES: tuple[Strategy, ...] = ("AUTO", "OPTIONAL", "REQUIRED", "EXPERT")

#: Confidence and consensus are shares, 0..1, as selection gives them.
SURE, FAIRLY_SURE, DOUBTFUL = 0.95, 0.85, 0.5
AGREED, SPLIT = 0.8, 0.5
#: Below these a change is read in one sitting.
SMALL_FILES, LARGE_FILES = 10, 60

#: Who changes these changes who may do what, or what a later run does.
SENSITIVE = (
    "*auth*", "*login*", "*password*", "*permission*", "*secret*", "*crypt*", "*payment*",
    "*billing*", ".github/*", ".gitlab-ci.yml", "Dockerfile", "*/Dockerfile", "*.tf",
)  # fmt: skip
#: Data does not come back by a rollback of the code.
MIGRATIONS = ("*/migrations/*", "migrations/*", "*/alembic/versions/*", "alembic/versions/*",
              "*.sql")  # fmt: skip
#: What the program is built from.
BUILD = ("requirements*.txt", "pyproject.toml", "setup.py", "package.json", "*.lock",
         "package-lock.json", "go.mod", "Cargo.toml")  # fmt: skip

Level = Literal["low", "medium", "high", "critical"]


@dataclass(frozen=True, slots=True)
class Change:
    """What would be promoted, as far as it is known; None is not known, never good.

    `confidence` and `consensus`: the lowest of its features. `findings`: level and words of a
    security scan, None when none was made. `paths`: files that differ from what is live, None
    when that cannot be told. `breaking`: words about interfaces that old callers lose.
    `by_hand`: features that a person has accepted. `left_out`: features that failed.
    `stale_data`: work that was let begin on stale data. `rejected`: a person has refused an
    earlier one, and nobody but a person can say whether the reason is gone.
    """

    confidence: float | None = None
    consensus: float | None = None
    findings: tuple[tuple[Level, str], ...] | None = None
    paths: tuple[str, ...] | None = None
    breaking: tuple[str, ...] = ()
    cost_usd: float | None = None
    by_hand: int = 0
    left_out: int = 0
    stale_data: bool = False
    rejected: bool = False


@dataclass(frozen=True, slots=True)
class Risk:
    """The owner's settings. `at_least`: never milder. `at_most`: never stricter, and only with
    `accepted`, the owner's own words on why. `sensitive`: further globs. `cost_usd`: beyond it
    a person looks."""

    at_least: Strategy = "AUTO"
    at_most: Strategy = "EXPERT"
    accepted: str = ""
    sensitive: tuple[str, ...] = ()
    cost_usd: float | None = 50.0


@dataclass(frozen=True, slots=True)
class Assessment:
    """The strategy, and why: the rules that ask for no less, as finished phrases."""

    strategy: Strategy
    reasons: tuple[str, ...]

    @property
    def needs_person(self) -> bool:
        return self.strategy in {"REQUIRED", "EXPERT"}


Rule = Callable[[Change, Risk], tuple[Strategy, str] | None]


def assess(change: Change, risk: Risk = Risk()) -> Assessment:
    """The strictest of all rules, then the owner's bounds."""
    found = [said for rule in RULES if (said := rule(change, risk)) is not None]
    strategy: Strategy = strictest(s for s, _ in found)
    reasons = tuple(words for s, words in found if s == strategy)
    if rank(risk.at_least) > rank(strategy):
        return Assessment(risk.at_least, (*reasons, f"never milder than {risk.at_least} here"))
    if rank(risk.at_most) < rank(strategy) and risk.accepted.strip():
        words = f"{strategy} by the rules; the owner accepts {risk.at_most}: {risk.accepted}"
        return Assessment(risk.at_most, (*reasons, words))
    return Assessment(strategy, reasons or ("nothing speaks against it",))


def rank(strategy: Strategy) -> int:
    return STRATEGIES.index(strategy)


def strictest(strategies: Iterable[Strategy]) -> Strategy:
    return max(strategies, key=rank, default="AUTO")


def _confidence(change: Change, _: Risk) -> tuple[Strategy, str] | None:
    value = change.confidence
    if value is None:
        return "REQUIRED", "how sure the choice was is not known"
    if value < DOUBTFUL:
        return "EXPERT", f"the choice was doubtful (confidence {value:.2f})"
    if value < FAIRLY_SURE:
        return "REQUIRED", f"the choice was not sure (confidence {value:.2f})"
    return None if value >= SURE else ("OPTIONAL", f"confidence {value:.2f}")


def _consensus(change: Change, _: Risk) -> tuple[Strategy, str] | None:
    value = change.consensus
    if value is None:
        return "OPTIONAL", "whether attempts agreed is not known"
    if value < SPLIT:
        return "REQUIRED", f"attempts did not agree (consensus {value:.2f})"
    return None if value >= AGREED else ("OPTIONAL", f"consensus {value:.2f}")


_BY_LEVEL: Mapping[Level, Strategy] = {
    "critical": "EXPERT", "high": "EXPERT", "medium": "REQUIRED", "low": "OPTIONAL",
}  # fmt: skip


def _findings(change: Change, _: Risk) -> tuple[Strategy, str] | None:
    if change.findings is None:
        return "REQUIRED", "no security scan was made"
    if not change.findings:
        return None
    worst = strictest(_BY_LEVEL[level] for level, _ in change.findings)
    return worst, f"security: {_shown(t for v, t in change.findings if _BY_LEVEL[v] == worst)}"


def _migrations(change: Change, _: Risk) -> tuple[Strategy, str] | None:
    found = matching(change.paths or (), MIGRATIONS)
    return ("EXPERT", f"changes stored data: {_shown(found)}") if found else None


def _sensitive(change: Change, risk: Risk) -> tuple[Strategy, str] | None:
    found = matching(change.paths or (), (*SENSITIVE, *risk.sensitive))
    return ("EXPERT", f"changes sensitive files: {_shown(found)}") if found else None


def _build(change: Change, _: Risk) -> tuple[Strategy, str] | None:
    found = matching(change.paths or (), BUILD)
    return ("REQUIRED", f"changes what it is built from: {_shown(found)}") if found else None


def _size(change: Change, _: Risk) -> tuple[Strategy, str] | None:
    if change.paths is None:
        return "REQUIRED", "what differs from what is live is not known"
    count = len(change.paths)
    if count > LARGE_FILES:
        return "REQUIRED", f"changes {count} files"
    return ("OPTIONAL", f"changes {count} files") if count > SMALL_FILES else None


def _breaking(change: Change, _: Risk) -> tuple[Strategy, str] | None:
    found = change.breaking
    return ("REQUIRED", f"breaks callers: {_shown(found)}") if found else None


def _cost(change: Change, risk: Risk) -> tuple[Strategy, str] | None:
    if risk.cost_usd is None or (change.cost_usd is not None and change.cost_usd <= risk.cost_usd):
        return None
    if change.cost_usd is None:
        return "REQUIRED", "what it has cost is not known"
    return "REQUIRED", f"it has cost ${change.cost_usd:.2f}"


def _left_out(change: Change, _: Risk) -> tuple[Strategy, str] | None:
    return ("REQUIRED", f"{change.left_out} of its features failed") if change.left_out else None


def _by_hand(change: Change, _: Risk) -> tuple[Strategy, str] | None:
    words = f"{change.by_hand} of its features were accepted by hand"
    return ("REQUIRED", words) if change.by_hand else None


def _stale(change: Change, _: Risk) -> tuple[Strategy, str] | None:
    return ("REQUIRED", "some work began on stale data") if change.stale_data else None


def _rejected(change: Change, _: Risk) -> tuple[Strategy, str] | None:
    return ("REQUIRED", "an earlier version was rejected") if change.rejected else None


RULES: tuple[Rule, ...] = (
    _findings, _migrations, _sensitive, _breaking, _left_out, _by_hand, _stale, _rejected,
    _confidence, _consensus, _build, _size, _cost,
)  # fmt: skip


def matching(paths: Iterable[str], globs: Iterable[str]) -> list[str]:
    """Those that match any glob, in any case: `Auth.py` is no milder than `auth.py`."""
    wanted = [glob.lower() for glob in globs]
    return [p for p in paths if any(fnmatchcase(p.lower(), glob) for glob in wanted)]


def _shown(words: Iterable[str]) -> str:
    found = list(words)
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(found[:3]) + more
