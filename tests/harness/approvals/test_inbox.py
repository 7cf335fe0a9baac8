"""The web inbox over its real application: links that open, links that do not, and forged forms."""

import html
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from harness.approvals.inbox import Inbox
from harness.approvals.links import Link
from harness.approvals.store import ApprovalStore
from harness.record.clock import SystemClock
from tests.harness.approvals.asking import TEAM, only, request, store_with

DECIDED: list[int] = []


def browser(store: ApprovalStore) -> httpx2.AsyncClient:
    app = Inbox(store, SystemClock(), lambda: DECIDED.append(1)).application()
    transport = httpx2.ASGITransport(app=app)
    return httpx2.AsyncClient(transport=transport, base_url="http://inbox")


def link(who: str = "bob", seconds: float = 600, request: str = "0001-cafe") -> Link:
    return Link(request, who, int(time.time() + seconds))


async def form_of(web: httpx2.AsyncClient, path: str) -> dict[str, str]:
    page = (await web.get(path)).text
    return dict(re.findall(r'name=(\w+) value="([^"]*)"', page))


async def test_a_link_shows_and_its_form_decides(tmp_path: Path) -> None:
    store = store_with(tmp_path)
    path = link().path(store.secret())
    async with browser(store) as web:
        page = await web.get(path)
        assert page.status_code == 200 and "d" * 64 in page.text
        assert "<script>" not in page.text and "&lt;script&gt;" in page.text
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        form = await form_of(web, path)
        done = await web.post(path, data={**form, "verdict": "approved"})
        assert (done.status_code, "approved by bob" in done.text) == (200, True)
        again = await web.post(path, data={**form, "verdict": "rejected", "reason": "no"})
        assert (again.status_code, "already" in again.text) == (409, True)
        assert "<button" not in (await web.get(path)).text
    answer = only(store).answer
    assert answer is not None and (answer.by, answer.way) == ("bob", "web")


async def test_a_rejection_needs_its_reason(tmp_path: Path) -> None:
    store = store_with(tmp_path)
    path = link().path(store.secret())
    async with browser(store) as web:
        form = await form_of(web, path)
        assert (await web.post(path, data={**form, "verdict": "rejected"})).status_code == 409
        done = await web.post(path, data={**form, "verdict": "rejected", "reason": "why"})
    assert done.status_code == 200 and only(store).standing == "rejected"


async def test_the_list_leads_to_each_request(tmp_path: Path) -> None:
    """By links of the same person and time; a request's link does not open the list."""
    store = store_with(tmp_path)
    store.ask(request(id="0002-<b>", expires=1.0), TEAM)
    inbox = link(request="").path(store.secret())
    async with browser(store) as web:
        page = (await web.get(inbox)).text
        first, _ = re.findall(r'href="([^"]*)"', page)
        assert page.index("pending") < page.index("expired") and "<b>" not in page
        form = await form_of(web, html.unescape(first))
        done = await web.post(html.unescape(first), data={**form, "verdict": "approved"})
        assert "approved by bob" in done.text
        for other in (
            forged(inbox, who="carol"),
            inbox.replace("/approvals/", "/approvals/0001-cafe"),
            link().path(store.secret()).replace("/0001-cafe", "/"),
            link(request="", seconds=-1).path(store.secret()),
        ):
            assert (await web.get(other)).status_code == 403


async def test_a_token_that_is_no_ascii_is_no_token(tmp_path: Path) -> None:
    store = store_with(tmp_path)
    path = link().path(store.secret())
    async with browser(store) as web:
        form = await form_of(web, path)
        done = await web.post(path, data={**form, "token": "ä", "verdict": "approved"})
    assert done.status_code == 403 and only(store).standing == "pending"


def forged(path: str, **changes: str) -> str:
    parts = urlsplit(path)
    query = {**dict(parse_qsl(parts.query)), **changes}
    return parts.path + "?" + "&".join(f"{k}={v}" for k, v in query.items())


@pytest.mark.parametrize(
    "made",
    [
        lambda s, p: forged(p, who="carol"),
        lambda s, p: forged(p, expires=str(int(time.time()) + 9999)),
        lambda s, p: forged(p, key="0" * 64),
        lambda s, p: forged(p, key=""),
        lambda s, p: forged(p, key="é"),
        lambda s, p: forged(p, expires="x"),
        lambda s, p: forged(p, expires="-1"),
        lambda s, p: p.replace("0001-cafe", "0002-cafe"),
        lambda s, p: link(seconds=-1).path(s.secret()),
        lambda s, p: link().path(b"another secret"),
        lambda s, p: link(request="0009-none").path(s.secret()),
        lambda s, p: urlsplit(p).path,
    ],
    ids=["another person", "later", "no signature", "empty", "foreign", "no number", "negative",
         "another run's", "expired", "another workspace's", "no such request", "bare"],
)  # fmt: skip
async def test_a_link_that_is_not_ours_opens_nothing(tmp_path: Path, made: Any) -> None:
    store = store_with(tmp_path)
    store.ask(replace(only(store).request, id="0002-cafe"), only(store).people)
    path = made(store, link().path(store.secret()))
    async with browser(store) as web:
        shown = await web.get(path)
        sent = await web.post(path, data={"verdict": "approved"})
    assert shown.status_code == sent.status_code == 403
    assert "d" * 64 not in shown.text
    assert all(asked.answer is None for asked in store.all())


async def test_a_form_from_elsewhere_decides_nothing(tmp_path: Path) -> None:
    """The link alone is no consent: another page could send the browser there."""
    store = store_with(tmp_path)
    path = link().path(store.secret())
    async with browser(store) as web, browser(store) as other:
        form = {**await form_of(web, path), "verdict": "approved"}
        assert (await other.post(path, data=form)).status_code == 403  # without the cookie
        theirs = {**await form_of(other, path), "verdict": "approved"}
        assert (await web.post(path, data=theirs)).status_code == 403  # another browser's token
        assert (await web.post(path, data={**form, "token": ""})).status_code == 403
        assert (await web.post(path, data={**form, "verdict": "maybe"})).status_code == 400
        other_commit = {**form, "commit": "e" * 40}
        assert (await web.post(path, data=other_commit)).status_code == 409
        huge = {**form, "reason": "x" * 50_000}
        assert (await web.post(path, data=huge)).status_code == 403
    assert only(store).answer is None


async def test_the_requesters_own_link_does_not_approve(tmp_path: Path) -> None:
    store = store_with(tmp_path)
    path = link("alice").path(store.secret())
    async with browser(store) as web:
        form = {**await form_of(web, path), "verdict": "approved"}
        done = await web.post(path, data=form)
    assert done.status_code == 409 and "somebody else" in done.text
