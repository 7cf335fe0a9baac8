"""`fibreflow learn`: look back, look into what was learned, and take in what others learned."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

from harness.cli.learn_flags import LearnOptions
from harness.learn import store as stores
from harness.learn.store import PatternStore
from harness.record import files
from harness.record.journal import all_events
from harness.record.workspace import Workspace
from orchestrator.errors import InputError
from orchestrator.learn import review as learning_review
from orchestrator.learn.lift import Arm
from orchestrator.learning import Pattern


def show(workspace: Workspace, options: LearnOptions) -> str:
    """The text to print. Raises `InputError` for what is not there or cannot be read."""
    store = PatternStore(workspace.patterns, workspace.patterns_lock)
    return _WORDS[options.word](workspace, store, options)


def _review(workspace: Workspace, store: PatternStore, options: LearnOptions) -> str:
    if not 0 < options.days <= 3660:
        raise InputError(f"--days {options.days:g}: give a number of days above 0, up to 3660")
    now = datetime.now(UTC)
    since = (now - timedelta(days=options.days)).isoformat()
    recent = (event for event in all_events(workspace) if event.time >= since)
    tried = learning_review.gather(recent)
    if not tried:
        raise InputError(f"{workspace.root}: nothing was tried in the last {options.days:g} days")
    found = learning_review.review(tried, store.load())
    if options.json:
        return json.dumps(asdict(found))
    text = learning_review.to_markdown(found, options.days)
    path = workspace.logs / f"review-{now:%Y-%m-%d}.md"
    files.replace(path, text)
    return f"{text}\nwritten to {path}"


def _list(workspace: Workspace, store: PatternStore, options: LearnOptions) -> str:
    known = sorted(store.load().values(), key=lambda p: (p.status, -p.total.hits, p.id))
    if options.json:
        return json.dumps([stores.as_json(pattern) for pattern in known])
    if not known:
        return f"{workspace.patterns}: nothing has been learned yet"
    return "\n".join(f"{p.id}  {p.status:11} {p.total.hits:5}x  {_plain(p.title)}" for p in known)


def _show(workspace: Workspace, store: PatternStore, options: LearnOptions) -> str:
    found = [p for p in store.load().values() if p.id.startswith(options.what)]
    if len(found) != 1:
        many = "no pattern is" if not found else f"{len(found)} patterns are"
        ask = workspace.hint("learn", "list")
        raise InputError(f"{many} called {options.what!r}; `{ask}` lists them")
    (pattern,) = found
    return json.dumps(stores.as_json(pattern)) if options.json else _described(pattern)


def _described(pattern: Pattern) -> str:
    total = pattern.total
    facts = {
        "pattern": pattern.id,
        "title": _plain(pattern.title),
        "what happened": _plain(pattern.what),
        "why": _plain(pattern.why),
        "what to do": _plain(pattern.fix),
        "status": f"{pattern.status} {pattern.status_why and f'({pattern.status_why})'}".strip(),
        "written by": pattern.by,
        "learned": pattern.learned,
        "last useful": pattern.last_useful,
        "seen in": ", ".join((*pattern.features, *pattern.files)),
        "failed so": f"{total.hits} attempts in {len(pattern.runs)} runs",
        "told": _arm(total.shown),
        "withheld": _arm(total.withheld),
    }
    return "\n".join(f"{name + ':':15}{value}" for name, value in facts.items() if value)


def _plain(text: str) -> str:
    """For a terminal, where no mark could be mistaken for ours."""
    return text.replace("&lt;", "<")


def _arm(arm: Arm) -> str:
    return f"{arm.tries} attempts, {arm.repeated} failed so, {arm.passed} passed"


def _import(workspace: Workspace, store: PatternStore, options: LearnOptions) -> str:
    """Only what is not known yet, on trial, without the counts of somewhere else."""
    if not options.file.is_file():
        raise InputError(f"{options.what}: there is no such file")
    given = stores.read(options.file)
    added: list[Pattern] = []

    def change(known: Mapping[str, Pattern]) -> list[Pattern]:
        added[:] = [
            replace(p, by="import", status="trial", status_why="", runs={}, last_useful="")
            for p in {p.id: p for p in given}.values()
            if p.id not in known
        ]
        return added

    store.update(change)
    return f"{len(added)} of {len(given)} patterns are new in {workspace.patterns}, on trial"


_WORDS: Mapping[str, Callable[[Workspace, PatternStore, LearnOptions], str]] = {
    "review": _review,
    "list": _list,
    "show": _show,
    "import": _import,
}
