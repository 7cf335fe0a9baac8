"""Correct attempts of the demo fit together, whatever the order of their merges."""

import random
import shutil
from pathlib import Path

import pytest

from tests.demo.attempts import (
    FEATURES,
    SEED,
    correct_of,
    exam,
    git,
    own_tests,
    play,
    run_pytest,
)


def integrate(repo: Path, choice: dict[str, str], rng: random.Random) -> list[str]:
    """Starts and merges features in a random order that the dependencies allow; what was merged."""
    git(repo, "init", "-q")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "seed")
    waiting, flying, merged = set(FEATURES), {}, []
    while waiting or flying:
        ready = sorted(f for f in waiting if set(FEATURES[f].depends_on) <= set(merged))
        if ready and (not flying or rng.random() < 0.6):
            feature = rng.choice(ready)
            waiting.remove(feature)
            git(repo, "checkout", "-q", "--detach", "main")
            play(choice[feature], repo)
            git(repo, "add", "-A")
            git(repo, "commit", "-qm", feature)
            flying[feature] = git(repo, "rev-parse", "HEAD")
        else:
            feature = rng.choice(sorted(flying))
            git(repo, "checkout", "-q", "main")
            git(repo, "cherry-pick", flying.pop(feature))
            merged.append(feature)
    return merged


# As many trials as the feature with most correct attempts has: each plays in at least one.
TRIALS = max(len(correct_of(feature)) for feature in FEATURES)


@pytest.mark.long
@pytest.mark.parametrize("trial", range(TRIALS))
def test_any_correct_attempts_in_any_order_build_the_service(trial, tmp_path):
    rng = random.Random(trial)
    choice = {}
    for feature in FEATURES:
        shuffled = random.Random(feature).sample(correct_of(feature), len(correct_of(feature)))
        choice[feature] = shuffled[trial % len(shuffled)]
    repo = tmp_path / "repo"
    shutil.copytree(SEED, repo)
    order = integrate(repo, choice, rng)
    result = run_pytest(repo, "tests")
    said = f"{choice}\n{order}\n{result.output}"
    assert result.green, said
    passed = {test.partition("::")[0] for test in result.passed}
    assert {exam(f).removesuffix(".py").replace("/", ".") for f in FEATURES} <= passed, said
    for name in choice.values():
        for path in own_tests(name):
            assert path.removesuffix(".py").replace("/", ".") in passed, said
