"""The web inbox: a person's list of requests, and a page with a form for each, by signed links.

The form carries a token that belongs to a cookie of the same browser, so that no other page can
send it; nothing of the request is shown without escaping.
"""

import asyncio
import html
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from harness.approvals.links import Link, refusal
from harness.approvals.store import ApprovalStore, Asked
from harness.ports import Clock
from harness.record.clock import iso
from orchestrator.approval_requests import Answer, Verdict

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_COOKIE = "fibreflow_inbox"
_FORM_BYTES = 20_000
_REASON = 2_000
#: What the list shows of an inbox that grows for ever.
_LISTED = 200
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address is a key
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class Inbox:
    """`decided` is told after an answer that counted."""

    def __init__(self, store: ApprovalStore, clock: Clock, decided: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._decided = decided

    def application(self) -> "Starlette":
        from starlette.applications import Starlette  # noqa: PLC0415
        from starlette.routing import Route  # noqa: PLC0415

        return Starlette(
            routes=[
                Route("/approvals/", self._list, methods=["GET"]),
                Route("/approvals/{id}", self._show, methods=["GET"]),
                Route("/approvals/{id}", self._answer, methods=["POST"]),
            ]
        )

    async def _list(self, request: "Request") -> "Response":
        """All requests, the open ones first, each by a link of the same person and time."""
        secret, found = await asyncio.to_thread(lambda: (self._store.secret(), self._store.all()))
        link = self._link(request, "", secret)
        if isinstance(link, str):
            return _page(403, link)
        found = sorted(found, key=lambda asked: asked.standing != "pending")[:_LISTED]
        rows = [(replace(link, request=a.request.id).path(secret), a) for a in found]
        return _page(200, _listed(rows))

    async def _show(self, request: "Request") -> "Response":
        opened = await asyncio.to_thread(self._opened, request)
        if isinstance(opened, str):
            return _page(403, opened)
        link, asked, secret = opened
        nonce = request.cookies.get(_COOKIE) or secrets.token_urlsafe(24)
        token = link.signature(secret, f"form {nonce}")
        answer = _page(200, _told(asked), _form(asked, token, link.who))
        path = f"/approvals/{link.request}"
        answer.set_cookie(_COOKIE, nonce, httponly=True, samesite="strict", path=path)
        return answer

    async def _answer(self, request: "Request") -> "Response":
        opened = await asyncio.to_thread(self._opened, request)
        if isinstance(opened, str):
            return _page(403, opened)
        link, asked, secret = opened
        form = await _fields(request)
        nonce = request.cookies.get(_COOKIE, "")
        wanted = link.signature(secret, f"form {nonce}")
        if not nonce or not _same(wanted, form.get("token", "")):
            return _page(403, "this form was not sent from its own page; open the link again")
        verdict = form.get("verdict", "")
        if verdict not in {"approved", "rejected"}:
            return _page(400, "choose approve or reject")
        kind: Verdict = "approved" if verdict == "approved" else "rejected"
        answer = Answer(kind, link.who, form.get("reason", "")[:_REASON], self._clock.now(), "web")
        outcome = await asyncio.to_thread(
            self._store.answer,
            asked.request.id,
            answer,
            commit=form.get("commit", ""),
            digest=form.get("digest", ""),
        )
        if outcome.counted:
            self._decided()
        return _page(200 if outcome.counted else 409, html.escape(outcome.words))

    def _opened(self, request: "Request") -> tuple[Link, Asked, bytes] | str:
        secret = self._store.secret()
        link = self._link(request, request.path_params["id"], secret)
        if isinstance(link, str):
            return link
        asked = self._store.find(link.request)
        return "there is no such request" if asked is None else (link, asked, secret)

    def _link(self, request: "Request", id_: str, secret: bytes) -> Link | str:
        """What the address is, else why it opens nothing."""
        query = request.query_params
        expires = query.get("expires", "")
        if not (expires.isascii() and expires.isdigit() and len(expires) < 16):
            return "this link was not made here, or was changed"
        link = Link(id_, query.get("who", ""), int(expires))
        return refusal(link, query.get("key", ""), secret, self._clock.now()) or link


async def _fields(request: "Request") -> dict[str, str]:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _FORM_BYTES:
            return {}
    found = parse_qs(body.decode("utf-8", "replace"), max_num_fields=20)
    return {name: values[0] for name, values in found.items()}


def _same(wanted: str, given: str) -> bool:
    # As bytes: of text, only ASCII is compared, and who sends the form decides what is in it.
    return secrets.compare_digest(wanted.encode(), given.encode("utf-8", "surrogatepass"))


def _page(status: int, *parts: str) -> "Response":
    from starlette.responses import HTMLResponse  # noqa: PLC0415

    style = "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;"
    style += "padding:0 1rem} td{padding:.2rem .8rem .2rem 0;vertical-align:top} button{padding:"
    style += ".5rem 1.2rem} textarea{width:100%} td{overflow-wrap:anywhere} "
    style += "td:first-child{white-space:nowrap}</style>"
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>Approval</title>{style}"
    return HTMLResponse(head + "".join(f"<div>{p}</div>" for p in parts), status, _HEADERS)


def _listed(rows: list[tuple[str, Asked]]) -> str:
    if not rows:
        return "<h1>Approvals</h1><p>Nothing was asked for.</p>"
    cells = "".join(
        f'<tr><td><a href="{html.escape(path)}">{html.escape(asked.request.id)}</a>'
        f"<td>{asked.standing}<td>{asked.request.strategy}"
        f"<td>{html.escape(asked.request.environment)}<td>{iso(asked.request.asked)}"
        for path, asked in rows
    )
    return f"<h1>Approvals</h1><table>{cells}</table>"


def _told(asked: Asked) -> str:
    one = asked.request
    why = asked.answer.reason if asked.answer is not None else ""
    rows = [
        ("state", f"{asked.standing}: {why}" if why else asked.standing),
        ("strategy", f"{one.strategy}: {'; '.join(one.reasons)}"),
        ("commit", one.commit),
        ("digest", one.digest),
        *one.facts,
        ("expires", iso(one.expires)),
    ]
    cells = "".join(
        f"<tr><td>{html.escape(n)}<td>{html.escape(t)}" for n, t in rows
    )  # what agents wrote is among it
    title = html.escape(f"{one.environment}: {one.id}")
    return f"<h1>{title}</h1><table>{cells}</table>"


def _form(asked: Asked, token: str, who: str) -> str:
    if asked.standing != "pending":
        return ""
    one = asked.request
    hidden = (("token", token), ("commit", one.commit), ("digest", one.digest))
    fields = "".join(
        f'<input type=hidden name={name} value="{html.escape(value)}">' for name, value in hidden
    )
    return (
        f"<form method=post>{fields}<p>You answer as {html.escape(who)}.</p>"
        '<p><textarea name=reason rows=3 placeholder="reason, needed to reject"></textarea></p>'
        "<button name=verdict value=approved>Approve</button> "
        "<button name=verdict value=rejected>Reject</button></form>"
    )
