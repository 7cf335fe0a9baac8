"""Reads real model outputs and draws rounds of attempts from them, as the selector sees them.

82 HumanEval problems, 100 samples of CodeGen-16B each, executed once (`data/README.md`). A draw is
`size` samples without replacement, and `checks` of the tests that the reference passes are taken
out of the model-written pool to be the trusted checks. What decides whether a sample is right
stays in `Draw.right`, which no selector is shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.selector import CrossTest, Evidence

DATA = Path(__file__).resolve().parent / "data" / "humaneval_codegen_dev.npz"
Table = npt.NDArray[Any]


@dataclass(frozen=True)
class Problem:
    """One problem. Rows of the tables are its distinct completions; `sample` says which of them
    each of the 100 samples is. `passed` is completions x tests, `digest` completions x probes
    (0: not executed)."""

    sample: Table
    passed: Table
    digest: Table
    right: Table
    usable: Table
    coverage: Table
    seconds: Table
    complexity: Table
    written: Table
    reference_passes: Table


@dataclass(frozen=True)
class Draw:
    """One simulated round: evidence in the order in which the attempts would have ended."""

    problem: int
    evidence: tuple[Evidence, ...]
    tests: tuple[CrossTest, ...]
    right: tuple[bool, ...]


def problems(path: Path = DATA) -> list[Problem]:
    """Every problem of the file; its tables are flat with offsets."""
    z = np.load(path)
    found, cell, mark = [], 0, 0
    for i in range(len(z["task_id"])):
        comp = slice(z["comp_off"][i], z["comp_off"][i + 1])
        test = slice(z["test_off"][i], z["test_off"][i + 1])
        rows, columns = comp.stop - comp.start, test.stop - test.start
        probes = z["probe_off"][i + 1] - z["probe_off"][i]
        found.append(
            Problem(
                sample=z["sample_to_comp"][i],
                passed=z["test_pass"][cell : cell + rows * columns].reshape(rows, columns) == 1,
                digest=z["probe_hash"][mark : mark + rows * probes].reshape(rows, probes),
                right=z["gt"][comp] == 1,
                usable=z["load_ok"][comp] == 1,
                coverage=z["coverage"][comp],
                seconds=z["secs_tests"][comp],
                complexity=z["cyclomatic"][comp],
                written=z["test_freq"][test],
                reference_passes=z["test_is_right"][test] == 1,
            )
        )
        cell, mark = cell + rows * columns, mark + rows * probes
    return found


def draws(
    given: list[Problem], size: int, checks: int, *, times: int, seed: int = 0
) -> Iterator[Draw]:
    """`times` draws of each problem. Those of a smaller size begin those of a larger one."""
    for i, problem in enumerate(given):
        for turn in range(times):
            chance = np.random.default_rng([seed, i, turn])
            rows = problem.sample[chance.permutation(len(problem.sample))[:size]]
            trusted = chance.permutation(np.flatnonzero(problem.reference_passes))[:checks]
            yield _draw(i, problem, rows, trusted)


def _draw(number: int, problem: Problem, rows: Table, trusted: Table) -> Draw:
    pool = np.setdiff1d(np.arange(problem.passed.shape[1]), trusted)
    evidence = tuple(
        Evidence(
            attempt=f"a{place:02d}",
            usable=bool(problem.usable[row]),
            acceptance=tuple(problem.passed[row, trusted].tolist()),
            cross=tuple(problem.passed[row, pool].tolist()),
            behaviour=tuple(str(d) if d else None for d in problem.digest[row].tolist()),
            coverage=_share(problem.coverage[row]),
            quality=1 / max(1, int(problem.complexity[row])),
            seconds=max(0.0, float(problem.seconds[row])),
        )
        for place, row in enumerate(rows)
    )
    tests = tuple(CrossTest(f"t{t}", None, float(problem.written[t])) for t in pool)
    return Draw(number, evidence, tests, tuple(problem.right[rows].tolist()))


def _share(value: float) -> float | None:
    return min(1.0, float(value)) if value >= 0 else None
