"""Reads from a commit the texts of scripts that commands run, and of what those run in turn."""

import functools
from collections.abc import Callable, Iterable

from harness.git import Repository
from orchestrator.values import Feature, FeatureList
from orchestrator.verify.acceptance import protected_globs
from orchestrator.verify.exams import DEPTH, setup_files, unread

_MOST_FILES, _LONGEST = 200, 200_000  # files in a round; characters of one


async def exam_texts(
    repository: Repository, commit: str, commands: Iterable[str], files: frozenset[str]
) -> dict[str, str]:
    """Path -> text, as far as `protected_globs` asks for them. `files`: those of the commit."""
    known: dict[str, str] = {}
    asked = list(commands)
    for _ in range(DEPTH):
        wanted = sorted(unread(asked, files, known))[:_MOST_FILES]
        for path in wanted:
            known[path] = (await repository.read(commit, path) or "")[:_LONGEST]
        if not wanted:
            break
    return known


async def protection(
    repository: Repository, commit: str, given: FeatureList, files: frozenset[str]
) -> Callable[[Feature], tuple[str, ...]]:
    """What no attempt at a feature may change, by the files and texts of the commit."""
    exams = [command for feature in given.features for command in feature.acceptance]
    texts = await exam_texts(repository, commit, exams, files)

    @functools.cache  # of each feature, whatever the number of its attempts
    def protected(feature: Feature) -> tuple[str, ...]:
        return protected_globs(given, feature, existing_files=files, texts=texts)

    return protected


async def setup_scripts(repository: Repository, commit: str, setup: str) -> frozenset[str]:
    """Files of the commit that the setup command runs or reads."""
    files = frozenset(await repository.files(commit))
    return setup_files(setup, files, await exam_texts(repository, commit, [setup], files))
