"""Serves Slack's web API, webhooks and Socket Mode on a local port, with faults where wanted.

    with SlackServer(trouble=lambda call: rate_limited(2)) as slack:
        client = WebClient(token=slack.bot_token, base_url=slack.api_url)

`trouble(call)` says what goes wrong with a call, None for nothing. `people` act by `click` and
`submit`, over Socket Mode where an app is connected; `request` makes the signed body of the same
act for an app that listens on HTTP. Everything that was said is in `messages`, in order.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import secrets
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


@dataclass(frozen=True)
class Call:
    """One call of the web API (`chat.postMessage`), or of a webhook (`webhook`)."""

    method: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Trouble:
    """`status`: answered instead. `dropped`: the connection ends without an answer, before the
    call had its effect, or `after` it."""

    status: int = 200
    error: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    dropped: bool = False
    after: bool = False


def rate_limited(retry_after: float | None = 1) -> Trouble:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Trouble(429, "ratelimited", headers)


def broken() -> Trouble:
    return Trouble(503, "service_unavailable")


def refused(error: str) -> Trouble:
    """What Slack answers with status 200: `channel_not_found`, `invalid_auth`."""
    return Trouble(200, error)


class SlackServer:
    """One workspace of Slack with one app in it."""

    def __init__(self, trouble: Callable[[Call], Trouble | None] = lambda _: None) -> None:
        self.trouble = trouble
        self.bot_token = "xoxb-" + secrets.token_hex(8)
        self.app_token = "xapp-" + secrets.token_hex(8)
        self.signing_secret = secrets.token_hex(16)
        self.calls: list[Call] = []
        self.messages: list[dict[str, Any]] = []  # chat.postMessage and webhooks, as they stand
        self.ephemeral: list[dict[str, Any]] = []
        self.views: list[dict[str, Any]] = []
        self.acknowledged: dict[str, tuple[float, Any]] = {}  # envelope -> seconds, payload
        self._sent: dict[str, float] = {}
        self._changed = threading.Condition()
        self._sockets: list[WebSocket] = []
        self._port = 0
        self._stopped = self._server = self._thread = self._loop = None

    # ------------------------------------------------------------------ on and off

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to listen; after `stop`, on the same port again."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(self._application(), log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        ready = threading.Event()

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            self._loop.call_soon(ready.set)
            await server.serve(sockets=[listener])

        self._server = server
        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self._thread.start()
        assert ready.wait(20)

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(20)
        self._sockets.clear()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/"

    @property
    def webhook_url(self) -> str:
        return f"{self.url}/services/T0/B0/x"

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.messages]

    # ------------------------------------------------------------------ the web API

    def _application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/{method}", self._api, methods=["POST", "GET"]),
                Route("/services/{rest:path}", self._webhook, methods=["POST"]),
                Route("/response/{ts}/{user}", self._respond, methods=["POST"]),
                WebSocketRoute("/link", self._link),
            ]
        )

    async def _api(self, request: Request) -> Response:
        method = request.path_params["method"]
        call = Call(method, await _body(request))
        wanted = self.app_token if method == "apps.connections.open" else self.bot_token
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if (given or call.body.get("token")) != wanted:
            return JSONResponse({"ok": False, "error": "invalid_auth"})
        return await self._answered(request, call, lambda: self._METHODS[method](self, call.body))

    async def _webhook(self, request: Request) -> Response:
        call = Call("webhook", await _body(request))

        def effect() -> str:
            self._say(call.body)
            return "ok"

        return await self._answered(request, call, effect)

    async def _answered(self, request: Request, call: Call, effect: Callable[[], Any]) -> Response:
        self.calls.append(call)
        trouble = self.trouble(call)
        if trouble is None or trouble.after:
            answer = effect()
            self._tell()
        if trouble is None:
            return PlainTextResponse(answer) if isinstance(answer, str) else JSONResponse(answer)
        if trouble.dropped:
            return _Dropped()
        body = {"ok": False, "error": trouble.error}
        return JSONResponse(body, trouble.status, headers=dict(trouble.headers))

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        message = self._say(body)
        return {"ok": True, "channel": message["channel"], "ts": message["ts"], "message": message}

    def _say(self, body: dict[str, Any]) -> dict[str, Any]:
        message = {
            **body,
            "channel": body.get("channel", "C0"),
            "ts": f"17000.{len(self.messages):06}",
        }
        self.messages.append(message)
        return message

    def _update(self, body: dict[str, Any]) -> dict[str, Any]:
        for message in self.messages:
            if message["ts"] == body["ts"]:
                message.update(body)
                return {"ok": True, "ts": body["ts"], "channel": message["channel"]}
        return {"ok": False, "error": "message_not_found"}

    def _post_ephemeral(self, body: dict[str, Any]) -> dict[str, Any]:
        self.ephemeral.append(body)
        return {"ok": True, "message_ts": "1.0"}

    def _history(self, body: dict[str, Any]) -> dict[str, Any]:
        found = [m for m in self.messages if m["channel"] == body["channel"]]
        return {"ok": True, "messages": found[::-1][: int(body.get("limit", 100))]}

    def _open_view(self, body: dict[str, Any]) -> dict[str, Any]:
        view = {**body["view"], "id": f"V{len(self.views)}"}
        self.views.append(view)
        return {"ok": True, "view": view}

    def _auth(self, _: dict[str, Any]) -> dict[str, Any]:
        ids = {"team_id": "T0", "user_id": "UBOT", "bot_id": "B0", "team": "x", "user": "bot"}
        return {"ok": True, "url": self.url, **ids}

    def _connections(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "url": f"ws://127.0.0.1:{self._port}/link"}

    _METHODS: Mapping[str, Callable[["SlackServer", dict[str, Any]], dict[str, Any]]] = {
        "chat.postMessage": _post,
        "chat.update": _update,
        "chat.postEphemeral": _post_ephemeral,
        "conversations.history": _history,
        "views.open": _open_view,
        "auth.test": _auth,
        "apps.connections.open": _connections,
    }

    async def _respond(self, request: Request) -> Response:
        """A `response_url`: an answer to whoever acted, or in the place of the message."""
        body = json.loads(await request.body())
        if body.get("replace_original"):
            self._update({**body, "ts": request.path_params["ts"]})
        else:
            self.ephemeral.append({**body, "user": request.path_params["user"]})
        self._tell()
        return PlainTextResponse("ok")

    # ------------------------------------------------------------------ Socket Mode

    async def _link(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json({"type": "hello", "num_connections": 1})
        self._sockets.append(ws)
        self._tell()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                answer = json.loads(await ws.receive_text())
                envelope = answer["envelope_id"]
                took = time.monotonic() - self._sent[envelope]
                self.acknowledged[envelope] = (took, answer.get("payload"))
                self._tell()
        self._sockets = [other for other in self._sockets if other is not ws]

    def hang_up(self) -> None:
        """Slack ends every connection now and then, and asks the app to come again."""
        for ws in list(self._sockets):
            asyncio.run_coroutine_threadsafe(ws.close(1001), self._loop).result(20)

    def send(self, payload: dict[str, Any], envelope: str = "") -> str:
        """An act of somebody to the app that is connected; the envelope's id. The same
        `envelope` twice is what Slack does when it heard no acknowledgement."""
        envelope = envelope or secrets.token_hex(8)
        self.wait(lambda: bool(self._sockets))
        self._sent[envelope] = time.monotonic()
        body = {"envelope_id": envelope, "type": "interactive", "payload": payload}
        ws = self._sockets[-1]
        asyncio.run_coroutine_threadsafe(ws.send_json(body), self._loop).result(20)
        return envelope

    def wait(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Until something that was said or acknowledged makes it true."""
        with self._changed:
            assert self._changed.wait_for(condition, seconds), "Slack was not told in time"

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # ------------------------------------------------------------------ what people do

    def click(self, message: Mapping[str, Any], action: str, user: str) -> dict[str, Any]:
        """The payload of a click on the button whose `action_id` begins with `action`."""
        buttons = [e for b in message["blocks"] for e in b.get("elements", ())]
        button = next(b for b in buttons if b.get("action_id", "").startswith(action))
        block = next(b for b in message["blocks"] if button in b.get("elements", ()))
        act = {**button, "block_id": block.get("block_id", "b"), "action_ts": "1.0"}
        return {
            "type": "block_actions",
            "user": {"id": user, "username": user, "team_id": "T0"},
            "team": {"id": "T0", "domain": "x"},
            "api_app_id": "A0",
            "token": "x",
            "trigger_id": secrets.token_hex(8),
            "channel": {"id": message["channel"], "name": "x"},
            "container": {"type": "message", "message_ts": message["ts"]},
            "message": {"ts": message["ts"], "text": message["text"]},
            "response_url": f"{self.url}/response/{message['ts']}/{user}",
            "actions": [act],
        }

    def submit(self, view: Mapping[str, Any], values: dict[str, str], user: str) -> dict[str, Any]:
        """The payload of a modal sent off; `values` by `action_id`."""
        state = {
            block["block_id"]: {
                block["element"]["action_id"]: {
                    "type": "plain_text_input",
                    "value": values[block["element"]["action_id"]],
                }
            }
            for block in view["blocks"]
            if "element" in block
        }
        return {
            "type": "view_submission",
            "user": {"id": user, "username": user, "team_id": "T0"},
            "team": {"id": "T0", "domain": "x"},
            "api_app_id": "A0",
            "token": "x",
            "view": {**view, "state": {"values": state}, "hash": "h", "app_id": "A0"},
        }

    def request(
        self, payload: dict[str, Any], secret: str = "", at: float | None = None
    ) -> tuple[bytes, dict[str, str]]:
        """Body and headers by which Slack tells an app on HTTP of an act, signed."""
        body = urllib.parse.urlencode({"payload": json.dumps(payload)}).encode()
        stamp = str(int(time.time() if at is None else at))
        key = (secret or self.signing_secret).encode()
        digest = hmac.new(key, b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        headers = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}
        return body, {**headers, "Content-Type": "application/x-www-form-urlencoded"}


class _Dropped(Response):
    """Ends the connection where an answer was expected."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        head = [(b"content-length", b"100")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        raise ConnectionResetError


async def _body(request: Request) -> dict[str, Any]:
    data = await request.body()
    if not data:
        return dict(request.query_params)
    if "json" in request.headers.get("content-type", "") or data[:1] == b"{":
        body: dict[str, Any] = json.loads(data)
        return body
    form = dict(urllib.parse.parse_qsl(data.decode()))
    nested = {key: json.loads(v) for key, v in form.items() if v[:1] in {"{", "["}}
    return {**form, **nested, **dict(request.query_params)}
