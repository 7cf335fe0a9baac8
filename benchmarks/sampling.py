#!/usr/bin/env python3
"""Runs a Python program and says on what its CPU time was spent, by part of the project.

    python benchmarks/sampling.py OUT PROGRAM [ARGUMENT ...]

A thread looks at all threads every few milliseconds and books the CPU time that each has used
since the last look to the innermost frame that belongs to a known part. What a pool of threads
is given is too short for that: it is timed, and booked to where its function stands. OUT gets
one JSON object: `cpu` in seconds of this process, `parts` and `lines` in seconds.
"""

import collections
import functools
import json
import resource
import runpy
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

_INTERVAL = 0.004
_LINES = 60

#: Part of the project by what a frame's file path contains; the first that fits.
PARTS: tuple[tuple[str, str], ...] = (
    ("/harness/engine.py", "engine"),
    ("/dbos/", "engine"),
    ("/sqlalchemy/", "engine"),
    ("/harness/record/budget.py", "money"),
    ("/harness/record/journal.py", "journal and screen"),
    ("/harness/cli/screen", "journal and screen"),
    ("/harness/progress.py", "journal and screen"),
    ("/orchestrator/events/", "journal and screen"),
    ("/orchestrator/runs/transitions.py", "journal and screen"),
    ("/orchestrator/runs/state.py", "journal and screen"),
    ("/harness/record/", "files of the attempt"),
    ("/harness/sandboxes/", "sandboxes, the runner's side"),
    ("/harness/patches.py", "sandboxes, the runner's side"),
    ("/harness/agents/", "agent loop and model"),
    ("/harness/models/", "agent loop and model"),
    ("/harness/verify/", "verification"),
    ("/harness/checker.py", "verification"),
    ("/harness/integrate.py", "merges"),
    ("/harness/git.py", "merges"),
    ("/orchestrator/selector.py", "selection"),
    ("/harness/attempt.py", "workflows and evidence"),
    ("/harness/batch.py", "workflows and evidence"),
    ("/harness/services.py", "workflows and evidence"),
)
REST = "event loop, threads, start"


class Sampler(threading.Thread):
    """Books CPU time to parts and lines until `over` is set."""

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self.over = threading.Event()
        self.parts: collections.Counter[str] = collections.Counter()
        self.lines: collections.Counter[str] = collections.Counter()
        self._used: dict[int, float] = {}
        self._pooled: set[int] = set()

    def run(self) -> None:
        while not self.over.wait(_INTERVAL):
            frames = sys._current_frames()
            for thread in threading.enumerate():
                frame = frames.get(thread.ident or 0)
                if frame is not None and thread is not self:
                    self._book(thread.ident or 0, frame)

    def time_pools(self) -> None:
        """Have every task of a `ThreadPoolExecutor` timed from now on."""
        submit = ThreadPoolExecutor.submit

        def timed(
            pool: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **named: Any
        ) -> Future[Any]:
            part, line = _place_of(fn, args)

            def run() -> Any:
                self._pooled.add(threading.get_ident())
                began = time.thread_time()
                try:
                    return fn(*args, **named)
                finally:
                    spent = time.thread_time() - began
                    self.parts[part] += spent
                    self.lines[line] += spent

            return submit(pool, run)

        ThreadPoolExecutor.submit = timed  # type: ignore[method-assign,assignment]

    def _book(self, ident: int, frame: FrameType) -> None:
        try:
            now = time.clock_gettime(time.pthread_getcpuclockid(ident))
        except OSError:  # it has just ended
            return
        spent = now - self._used.get(ident, now)
        self._used[ident] = now
        if spent > 0 and ident not in self._pooled:
            part, line = _place(frame)
            self.parts[part] += spent
            self.lines[line] += spent


def _place(frame: FrameType) -> tuple[str, str]:
    """The part and the innermost line of it."""
    inner = f"{_short(frame)}"
    outer: FrameType | None = frame
    while outer is not None:
        name = outer.f_code.co_filename
        for piece, part in PARTS:
            if piece in name:
                return part, f"{part}: {_short(outer)} <- {inner}" if outer is not frame else inner
        outer = outer.f_back
    return REST, f"{REST}: {inner}"


def _place_of(fn: Any, args: tuple[Any, ...]) -> tuple[str, str]:
    """The part and the name of what a pool was given, looked for inside its wrappings."""
    while True:
        if isinstance(fn, functools.partial):
            fn, args = fn.func, (*fn.args, *args)
        elif getattr(fn, "__name__", "") == "run" and args and not hasattr(fn, "__code__"):
            fn, args = args[0], args[1:]  # `Context.run` of asyncio.to_thread
        else:
            break
    code = getattr(fn, "__code__", None)
    name = code.co_filename if code is not None else ""
    part = next((part for piece, part in PARTS if piece in name), REST)
    return part, f"{part}: in a thread, {Path(name).name} {getattr(fn, '__qualname__', fn)}"


def _short(frame: FrameType) -> str:
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}"


def main() -> None:
    out, program = Path(sys.argv[1]), sys.argv[2]
    sys.argv = sys.argv[2:]
    sampler = Sampler()
    sampler.time_pools()
    sampler.start()
    try:
        runpy.run_path(program, run_name="__main__")
    finally:
        sampler.over.set()
        sampler.join()
        own = resource.getrusage(resource.RUSAGE_SELF)
        found = {
            "cpu": own.ru_utime + own.ru_stime,
            "parts": dict(sampler.parts.most_common()),
            "lines": dict(sampler.lines.most_common(_LINES)),
        }
        out.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
