"""`--dry-run`: prints what a run would do and the most it could cost, and changes nothing."""

from harness import inputs
from harness.flags import RunOptions
from harness.models import prices
from harness.record.workspace import Workspace
from orchestrator import forecast
from orchestrator.model_router import tier_for
from orchestrator.values import TIERS, FeatureList, Usage

#: What a turn may hold at most: the agent's context is kept below this many tokens.
_CONTEXT_TOKENS = 40_000
_REPLY_TOKENS = 16_000
_LIVE_WORKERS = 15


async def show(given: FeatureList, workspace: Workspace, options: RunOptions) -> int:
    """Always 0; raises `InputError` as a run would."""
    recorded = inputs.recording_path(given, workspace.root) is not None and not options.live
    seed = inputs.seed_path(given, workspace.root)
    if seed is not None and not inputs.repo_path(given, workspace.root).exists():
        existing, done = inputs.seed_files(seed), frozenset[str]()
    else:
        target = await inputs.open_target(given, workspace.root, create=False)
        existing, done = target.files, frozenset(target.integrated)
    plan = forecast.forecast(
        given,
        worst_case_attempt_usd=0.0 if recorded else _worst_case_usd(given, options),
        workers=options.workers or _LIVE_WORKERS,
        existing_files=existing,
        done=done,
        only=options.only or None,
    )
    print(forecast.render(plan))
    return 0


def _worst_case_usd(given: FeatureList, options: RunOptions) -> float | None:
    """The most that one attempt can cost: every turn full, on the dearest tier a round may use."""
    tiers = [
        tier_for(f, given.defaults, given.defaults.rounds, options.tier) for f in given.features
    ]
    dearest = max(tiers, key=TIERS.index)
    turn = prices.cost_usd(
        prices.model_id(dearest), Usage(cache_write=_CONTEXT_TOKENS, output=_REPLY_TOKENS)
    )
    return None if turn is None else turn * given.defaults.turns
