"""Measures how good a patch's product code is, beside the base that it was made for."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from harness.ports import Base
from harness.verify import typecheck
from harness.verify.bench import Bench
from harness.verify.measuring import Measures, Measuring
from harness.verify.tree import Tree
from orchestrator.verify.quality import duplicated, parts, quality

#: Of more files than these the first are measured; a feature seldom has so many.
_MOST_FILES = 60


async def measure(
    bench: Bench, measuring: Measuring, base: Base, tree: Tree, product: Sequence[str]
) -> float | None:
    """Quality 0..1 of the patch's `product` files; None when nothing could be measured. What it
    is made of is in the bench's log."""
    files = [path for path in product if path in tree.after][:_MOST_FILES]
    if not files:
        return None
    after = {path: tree.after[path] for path in files}
    before = {path: tree.before[path] for path in files if path in tree.before}
    seen = await measuring.measure(before, after)
    if seen is None:
        bench.note("quality could not be measured: the tools gave no readable answer")
        return None
    seen = _with_types(seen, await typecheck.errors(bench, base, tree, files))
    copies = [await asyncio.to_thread(duplicated, list(t.values())) for t in (before, after)]
    added = sum(len(tree.text.added[path]) for path in files)
    found = parts(*seen, added_lines=added, new_duplicates=copies[1] - copies[0])
    told = ", ".join(f"{name} {share:.2f}" for name, share in found.items())
    bench.note(f"quality: {told or 'nothing could be measured'}")
    return quality(found)


def _with_types(seen: Measures, errors: typecheck.Errors | None) -> Measures:
    if errors is None:
        return seen
    before, after = (
        tuple(replace(m, types=counts.get(m.path)) for m in side)
        for side, counts in zip(seen, errors, strict=True)
    )
    return before, after
