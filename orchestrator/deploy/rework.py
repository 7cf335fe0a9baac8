"""A rejection becomes work: a feature of its own, whose task is the person's reason."""

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.deploy.course import Deployment
from orchestrator.values import Feature, FeatureList

PREFIX = "rework-"


def with_rework(given: FeatureList, deployments: Iterable[Deployment]) -> FeatureList:
    """The list with one more feature for each deployment that a person rejected, oldest first.

    It depends on everything, and everything's acceptance is its own: what was good stays so.
    Whether the reason is gone, no command can tell; the next approval asks a person again.
    """
    rejected = sorted(
        (d for d in deployments if d.answer == "rejected"), key=lambda deployment: deployment.id
    )
    features = given.features
    for deployment in rejected:
        made = _feature(given, features, deployment)
        if all(f.id != made.id for f in features):
            features = (*features, made)
    return replace(given, features=features)


def foreseen(given: FeatureList, number: str, reason: str) -> FeatureList:
    """The list as it would be if deployment `number`, such as 0001, were rejected with `reason`."""
    refused = Deployment(number, "", "", "", "", answer="rejected", reason=reason)
    return with_rework(given, [refused])


def id_of(deployment: Deployment) -> str:
    """The id of the feature that a rejected deployment becomes."""
    return PREFIX + deployment.id.split("-")[0]


def _feature(given: FeatureList, before: tuple[Feature, ...], deployment: Deployment) -> Feature:
    commands = (c for f in given.features for c in f.acceptance)
    return Feature(
        id=id_of(deployment),
        description=(
            f"{deployment.reason.strip()}\n\n"
            "For this reason a person refused what was built for production. Change it so that the "
            "reason is gone, and keep all else as it is."
        ),
        category="rework",
        depends_on=tuple(f.id for f in before),
        acceptance=tuple(dict.fromkeys(commands)),
    )
