"""A store with one request in it, and a team that may answer."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.approvals.store import ApprovalStore, Asked
from harness.record.clock import SystemClock
from orchestrator.approval_requests import People, Request

TEAM = People(
    {"alice": ("slack:U1",), "bob": ("slack:U2",), "carol": ("slack:U3",)}, experts=("carol",)
)


def request(**more: Any) -> Request:
    now = time.time()
    one = Request(
        id="0001-cafe", strategy="REQUIRED", environment="production", run="r", commit="c" * 40,
        digest="d" * 64, requester="alice", asked=now, expires=now + 3600,
        reasons=("changes <!channel>",), facts=(("what", "<script>alert(1)</script>"),),
    )  # fmt: skip
    return replace(one, **more)


def store_with(folder: Path, people: People = TEAM, **more: Any) -> ApprovalStore:
    store = ApprovalStore(folder / "approvals.sqlite", SystemClock())
    store.ask(request(**more), people)
    return store


def only(store: ApprovalStore) -> Asked:
    (asked,) = store.all()
    return asked
