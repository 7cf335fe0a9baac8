#!/usr/bin/env python3
"""How close the order of a run comes to the best there could be, on a virtual clock.

    python benchmarks/schedule.py [--graphs 20] [--features 200] [--workers 15]
                                  [--exercism config.json ...] [--json]

Each graph is played in the order of a real run (`orchestrator.simulate`), in waves and first come,
first served; the bound is the longest chain or all work shared without a gap, whichever is more:
no order can be below it. Shapes: random, layers, a tree that is joined again, chains beside each
other. `--exercism`: the prerequisites of an Exercism track's exercises, from its `config.json`.
`--json` prints one object, last.
"""

import argparse
import json
import random
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # from a fresh checkout

from orchestrator import simulate
from orchestrator.graph import Graph
from orchestrator.simulate import Work
from orchestrator.values import Feature

ATTEMPTS = 3
Edges = dict[str, list[str]]


def scattered(n: int, chance: random.Random) -> Edges:
    """Each feature needs up to three earlier ones."""
    return {
        str(i): [str(j) for j in chance.sample(range(i), min(i, chance.randint(0, 3)))]
        for i in range(n)
    }


def layers(n: int, chance: random.Random) -> Edges:
    """Ten layers; each feature needs one or two of the layer before."""
    size = max(1, n // 10)
    rows = [[f"{row}.{i}" for i in range(size)] for row in range(10)]
    above = dict(zip(range(10), [[], *rows[:-1]], strict=True))
    return {
        id_: chance.sample(above[row], min(len(above[row]), chance.randint(1, 2)))
        for row, ids in enumerate(rows)
        for id_ in ids
    }


def tree(n: int, _chance: random.Random) -> Edges:
    """One foundation that branches out by three, and one feature that needs all leaves."""
    edges: Edges = {str(i): [str((i - 1) // 3)] if i else [] for i in range(n - 1)}
    inner = {need for needs in edges.values() for need in needs}
    return {**edges, "last": [i for i in edges if i not in inner]}


def chains(n: int, chance: random.Random) -> Edges:
    """Chains of unequal length beside each other: where first come, first served does badly."""
    edges: Edges = {}
    while len(edges) < n:
        chain = [str(len(edges) + i) for i in range(chance.choice((1, 1, 1, 2, 3, 12)))]
        edges |= {id_: chain[max(0, i - 1) : i] for i, id_ in enumerate(chain)}
    return edges


SHAPES: tuple[Callable[[int, random.Random], Edges], ...] = (scattered, layers, tree, chains)


def exercism(path: Path) -> Edges:
    """An exercise needs those that teach what it has as prerequisites."""
    exercises = json.loads(path.read_text("utf-8"))["exercises"]
    every = [*exercises.get("concept", ()), *exercises.get("practice", ())]
    teaches = {
        concept: e["slug"] for e in exercises.get("concept", ()) for concept in e["concepts"]
    }
    return {
        e["slug"]: sorted({teaches[c] for c in e.get("prerequisites") or () if c in teaches}
                          - {e["slug"]})
        for e in every
    }  # fmt: skip


def work_of(edges: Edges, chance: random.Random) -> tuple[Work, Work]:
    """Attempts of 1 to 30 minutes, most of them short, in the order that somebody wrote down: as
    a run sees it that was told a rough size of each feature (`timeout_minutes`, wrong by a third
    or so either way), and as one that knows nothing of them."""
    ids = list(edges)
    chance.shuffle(ids)
    minutes = {i: min(30.0, max(1.0, chance.lognormvariate(1.6, 0.7))) for i in ids}
    guess = {i: m * chance.lognormvariate(0, 0.35) for i, m in minutes.items()}
    seconds = {
        i: [m * chance.uniform(0.6, 1.4) for _ in range(ATTEMPTS)] for i, m in minutes.items()
    }
    features = [Feature(i, i, depends_on=tuple(edges[i]), timeout_minutes=guess[i]) for i in ids]
    told = Graph(features, lambda f: f.timeout_minutes or 1.0)
    return Work(told, seconds), Work(Graph(features), seconds)


def works(options: argparse.Namespace) -> Iterator[tuple[str, tuple[Work, Work]]]:
    for seed in range(options.graphs):
        for shape in SHAPES:
            chance = random.Random(f"{shape.__name__} {seed}")
            yield shape.__name__, work_of(shape(options.features, chance), chance)
    for path in options.exercism:
        for seed in range(options.graphs):
            yield f"exercism {path.parent.name}", work_of(exercism(path), random.Random(seed))


def measured(options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, dict[str, list[float]]] = {}
    for name, (told, untold) in works(options):
        bound = simulate.lower_bound(told, options.workers)
        ratios = {
            "urgency": simulate.by_urgency(told, options.workers) / bound,
            "urgency, sizes unknown": simulate.by_urgency(untold, options.workers) / bound,
            "waves": simulate.in_waves(told, options.workers) / bound,
            "first come": simulate.first_come(told, options.workers) / bound,
        }
        for order, ratio in ratios.items():
            found.setdefault(name, {}).setdefault(order, []).append(ratio)
    orders = list(next(iter(found.values())))
    every = {o: sorted(r for shape in found.values() for r in shape[o]) for o in orders}
    ours = every["urgency"]
    means = {order: round(statistics.fmean(ratios), 4) for order, ratios in every.items()}
    return {
        "workers": options.workers,
        "features": options.features,
        "graphs": len(ours),
        "ratio_to_bound_mean": means["urgency"],
        "ratio_to_bound_p95": round(ours[int(0.95 * (len(ours) - 1))], 4),
        "means": means,
        "shapes": {
            name: {order: round(statistics.fmean(ratios), 4) for order, ratios in shape.items()}
            for name, shape in found.items()
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", type=int, default=20, help="of each shape")
    parser.add_argument("--features", type=int, default=200)
    parser.add_argument("--workers", type=int, default=15)
    parser.add_argument("--exercism", type=Path, nargs="*", default=[], metavar="CONFIG")
    parser.add_argument("--json", action="store_true")
    found = measured(parser.parse_args())
    for name, orders in found["shapes"].items():
        print(name, *(f"{order} {ratio:.3f}" for order, ratio in orders.items()), sep="  ")
    print(f"mean {found['ratio_to_bound_mean']}, 95th percentile {found['ratio_to_bound_p95']}")
    if parser.parse_args().json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
