"""Puts a patch on a base in a clean sandbox, after looking at what it touches."""

import contextlib
import secrets
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.ports import Base, ExecResult
from harness.verify.bench import Bench
from harness.verify.patch import (
    PatchText,
    escaping_link,
    read_patch,
    shadows_standard_library,
    shown,
    stand_ins,
    unsafe_path,
)
from orchestrator.verify.acceptance import is_protected
from orchestrator.verify.crossing import MAX_TEXT

_UNREADABLE, _REFUSED = 3, 4
_LONGEST_LIST = 5

#: Of Python files that the patch touches, to be read and never run.
_MAX_TEXTS = 3_000_000  # bytes, all together, on each side

#: One command for all of it. Nothing of the patch has run when it ends: git alone has written,
#: by the clean git directory's configuration. Links are listed after they were made.
_SCRIPT = """
d=$(mktemp -d) || exit 125
cat > "$d/patch"
export GIT_DIR={git} GIT_WORK_TREE={work} GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
cd {work} || exit 125
texts() {{
  sed -z 's/^[^\\t]*\\t[^\\t]*\\t//' "$d/names" | xargs -0 -r sh -c '
    for p; do
      case $p in *.py) [ -f "$p" ] && [ ! -L "$p" ] || continue ;; *) continue ;; esac
      n=$(($(wc -c < "$p")))
      [ "$n" -gt {text} ] || {{ printf "%s\\0%s\\0" "$p" "$n"; cat "$p"; }}
    done' sh | head -c {all}
}}
git apply --numstat -z "$d/patch" > "$d/names" || exit 3
texts > "$d/before"
sed -z 's/^[^\\t]*\\t[^\\t]*\\t//' "$d/names" | xargs -0 -r sh -c '
  for p; do
    d=$(dirname "${{p%/__init__.py}}")
    [ -e "$p" ] || [ -e "$d/__init__.py" ] || printf "%s\\0" "$p"
  done
' sh > "$d/fresh"
git apply --whitespace=nowarn "$d/patch" || exit 4
cat "$d/names"
printf '%s' {mark}
cat "$d/fresh"
printf '%s' {mark}
sed -z 's/^[^\\t]*\\t[^\\t]*\\t//' "$d/names" | xargs -0 -r sh -c '
  for p; do [ -L "$p" ] && printf "%s\\0%s\\0" "$p" "$(readlink "$p")"; done; :' sh
printf '%s' {mark}
cat "$d/before"
printf '%s' {mark}
texts
rm -rf "$d"
"""


@dataclass(frozen=True, slots=True)
class Tree:
    """A patched base to fork from. `touched` names every path the patch changes; `before` and
    `after` have the texts of Python files among them, but for very large ones; `fresh` are new
    files that lie in no package that was there."""

    base: Base
    text: PatchText = field(default_factory=PatchText)
    touched: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    fresh: tuple[str, ...] = ()


@contextlib.asynccontextmanager
async def patched(
    bench: Bench, base: Base, patch: bytes, protected: Sequence[str]
) -> AsyncIterator[Tree]:
    """The patched tree, which lives as long as the block. With `problems` nothing was applied
    that may be used: `base` is then the base as it was.
    """
    if not patch:
        yield Tree(base)
        return
    text = read_patch(patch)
    if text.problems:
        yield Tree(base, text, (), text.problems)
        return
    async with bench.fork(base) as sandbox:
        mark = f"mark-{secrets.token_hex(16)}"
        script = _SCRIPT.format(
            git=shlex.quote(sandbox.base_git),
            work=shlex.quote(sandbox.workdir),
            mark=mark,
            text=MAX_TEXT,
            all=_MAX_TEXTS,
        )
        bench.note(f"git apply ({len(patch)} bytes)")
        result = await bench.run(sandbox, script, stdin=patch, limit=16_000_000)
        if not result.ok:
            bench.output(result)
            yield Tree(base, text, (), (_why_not(result),))
            return
        # Nothing that the patch brings can hold the mark. Without all of it there is no text.
        names, fresh, links, before, after = [*result.out.split(mark.encode()), *[b""] * 4][:5]
        touched = _touched(names, text)
        loose = tuple(n.decode("utf-8", "surrogateescape") for n in fresh.split(b"\0") if n)
        problems = (*_problems(touched, _pairs(links), protected), *_shadowing(loose))
        tree = base if problems else await bench.provider.snapshot(sandbox)
        yield Tree(tree, text, touched, problems, _texts(before), _texts(after), loose)


def _why_not(result: ExecResult) -> str:
    if result.timed_out:
        return "applying the patch timed out"
    lines = [line for line in result.err.decode("utf-8", "replace").splitlines() if line.strip()]
    said = shown("; ".join(lines[:3]), 400)
    if result.exit in {_UNREADABLE, _REFUSED}:
        return f"the patch does not apply: {said}"
    return f"the patch could not be put on the base (exit {result.exit}): {said}"


def _touched(names: bytes, text: PatchText) -> tuple[str, ...]:
    found = [
        entry.split(b"\t", 2)[2].decode("utf-8", "surrogateescape")
        for entry in names.split(b"\0")
        if entry.count(b"\t") >= 2
    ]
    return tuple(dict.fromkeys([*found, *text.sources]))


def _texts(told: bytes) -> dict[str, str]:
    """What `texts` of the script said, but for what is not UTF-8 or was cut off at the end."""
    found: dict[str, str] = {}
    while told:
        path, _, rest = told.partition(b"\0")
        size, _, rest = rest.partition(b"\0")
        if not size.isdigit() or len(rest) < int(size):
            break
        with contextlib.suppress(UnicodeDecodeError):
            found[path.decode("utf-8", "surrogateescape")] = rest[: int(size)].decode()
        told = rest[int(size) :]
    return found


def _pairs(links: bytes) -> list[tuple[str, str]]:
    words = [w.decode("utf-8", "surrogateescape") for w in links.split(b"\0")]
    return list(zip(words[::2], words[1::2], strict=False))


def _problems(
    touched: Sequence[str], links: Sequence[tuple[str, str]], protected: Sequence[str]
) -> tuple[str, ...]:
    found = [why for path in touched if (why := unsafe_path(path))]
    found += [
        f"adds a symbolic link that points outside: {shown(path)} -> {shown(target)}"
        for path, target in links
        if escaping_link(path, target)
    ]
    guarded = [path for path in touched if is_protected(path, protected)]
    if guarded:
        found.append(f"changes protected files: {listed(guarded)}")
    return (*found, *stand_ins(touched, lambda path: is_protected(path, protected)))


def _shadowing(fresh: Sequence[str]) -> tuple[str, ...]:
    return tuple(why for path in fresh if (why := shadows_standard_library(path)))


def listed(names: Sequence[str]) -> str:
    """Some of `names`, and how many more there are."""
    more = len(names) - _LONGEST_LIST
    told = ", ".join(shown(n, 120) for n in names[:_LONGEST_LIST])
    return told + (f" and {more} more" if more > 0 else "")
