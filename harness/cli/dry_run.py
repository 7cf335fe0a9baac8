"""`--dry-run`: prints what a run would do and the most it could cost, and changes nothing."""

import json
from dataclasses import asdict

from harness import inputs
from harness.cli.flags import RunOptions
from harness.models import endpoints, prices
from harness.record.workspace import Workspace
from harness.routing import read_rules
from orchestrator import forecast, model_router
from orchestrator.model_router import RoutingSettings
from orchestrator.values import TIERS, FeatureList, Tier, Usage

#: What a turn may hold at most: the agent's context is kept below this many tokens.
_CONTEXT_TOKENS = 40_000
_REPLY_TOKENS = 16_000


async def show(given: FeatureList, workspace: Workspace, options: RunOptions) -> int:
    """Always 0; raises `InputError` as a run would."""
    live = options.live or inputs.recording_path(given, workspace.root) is None
    found = await inputs.preview(given, workspace.root, options)
    plan = forecast.forecast(
        given,
        worst_case_attempt_usd=_worst_case_usd(given, options) if live else 0.0,
        workers=inputs.workers(options, live=live),
        existing_files=found.files,
        done=found.done,
        only=options.only or None,
    )
    if options.screen == "json":
        repo = str(inputs.repo_path(given, workspace.root))
        print(json.dumps({"repo": repo, "branch": given.project.branch, **asdict(plan)}))
        return 0
    where = [*_where(given, workspace, options), *_models(given, options, live)]
    print("\n".join([forecast.render(plan), "", "Where", *where]))
    return 0


def _where(given: FeatureList, workspace: Workspace, options: RunOptions) -> list[str]:
    repo = inputs.repo_path(given, workspace.root)
    made = "" if repo.exists() else f", to be made from {given.project.seed}"
    return [
        f"  repo       {repo}{made}",
        f"  branch     {given.project.branch}",
        f"  sandbox    {options.sandbox}"
        + (" (NO ISOLATION)" if options.sandbox == "process" else ""),
    ]


def _models(given: FeatureList, options: RunOptions, live: bool) -> list[str]:
    if not live:
        return [
            f"  model      recordings in {given.project.recording}: none is asked, none is paid"
        ]
    chains = endpoints.asked(options.workspace)
    return [
        f"  {tier if number == 0 else '  else':<9}  {model}, {'free' if free else _price(model)}"
        for tier in _tiers(given, options)
        for number, (model, free) in enumerate(chains[tier])
    ]


def _price(model: str) -> str:
    read, written = (
        prices.cost_usd(model, usage) for usage in (Usage(input=1000), Usage(output=1000))
    )
    if read is None or written is None:
        return "price unknown: refused where a budget is set"
    # Dollars per thousand tokens, times a thousand.
    return f"${1000 * read:.2f} in, ${1000 * written:.2f} out per million tokens"


def _tiers(given: FeatureList, options: RunOptions) -> list[Tier]:
    """Every tier that some round of some feature may use, cheapest first."""
    settings = RoutingSettings(
        read_rules(options.workspace), override=options.tier, default=given.defaults.tier
    )
    found: set[Tier] = set()
    for feature in given.features:
        agent = feature.agent or given.defaults.agent
        start = model_router.classify(model_router.request_of(feature), agent, settings)
        found.update(model_router.possible(start, given.defaults))
    return sorted(found, key=TIERS.index)


def _worst_case_usd(given: FeatureList, options: RunOptions) -> float | None:
    """The most that one attempt can cost: every turn full, on the dearest tier that it may use.
    None when the price of one of them is unknown."""
    full = Usage(cache_write=_CONTEXT_TOKENS, output=_REPLY_TOKENS)
    chains = endpoints.asked(options.workspace)
    models = [model for tier in _tiers(given, options) for model in chains[tier]]
    turns = [0.0 if free else prices.cost_usd(model, full) for model, free in models]
    known = [turn for turn in turns if turn is not None]
    return max(known) * given.defaults.turns if len(known) == len(turns) else None
