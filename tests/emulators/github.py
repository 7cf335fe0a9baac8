"""Serves the parts of GitHub's REST API that tickets use, with the permissions of each token.

    with GitHubServer() as github:
        github.issue(7, "Title", "Body", author="stranger")
        github.people["ann"] = "write"
        token = github.token("github-actions[bot]", issues="write", pulls="write")

`log` has every request as "METHOD /path"; `faults` go wrong with the next requests that match;
`on_write` is called before and after each request that changes something; False before it: the
request was never heard. Secondary limits:
`writes_a_minute` answers 403 with Retry-After, as GitHub does for bursts of content.
"""

import base64
import itertools
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

REPO = "acme/shop"
_ORDER = ("none", "read", "write")
_PAGE = 30


@dataclass
class Fault:
    """The next `times` requests whose "METHOD /path" contains `match` are answered so; with
    `after`, once the work was done all the same."""

    match: str
    status: int
    times: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "injected"
    after: bool = False


@dataclass(frozen=True)
class Token:
    login: str
    rights: Mapping[str, str]


class GitHubServer:
    def __init__(self) -> None:
        self.issues: dict[int, dict[str, Any]] = {}
        self.comments: dict[int, list[dict[str, Any]]] = {}
        self.review_comments: dict[int, list[dict[str, Any]]] = {}
        self.reviews: dict[int, list[dict[str, Any]]] = {}
        self.pulls: dict[int, dict[str, Any]] = {}
        self.people: dict[str, str] = {}
        self.files: dict[tuple[str, str], bytes] = {}  # (ref, path) -> content
        self.attachments: dict[str, bytes] = {}  # path on the host -> content
        self.origin: Path | None = None  # the bare repository that pull requests are about
        self.redirects: dict[str, str] = {}  # path on the host -> where it is
        self.tokens: dict[str, Token] = {}
        self.log: list[str] = []
        self.faults: list[Fault] = []
        self.on_write: Callable[[str, str], bool] = lambda _when, _what: True
        self.remaining = 5000
        self.reset = time.time() + 3600
        self.writes_a_minute: int | None = None
        self._writes: list[float] = []
        self._ids = itertools.count(1000)
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(_app(self), log_level="critical", lifespan="off",
                                timeout_graceful_shutdown=1, access_log=False)  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        self._socket.close()

    # ----------------------------------------------------------- what is there

    def issue(self, number: int, title: str, body: str, author: str, *labels: str) -> None:
        self.issues[number] = {
            "number": number, "title": title, "body": body, "user": {"login": author},
            "state": "open", "labels": [{"name": name} for name in labels],
            "html_url": f"https://github.example/{REPO}/issues/{number}",
        }  # fmt: skip

    def comment(self, number: int, author: str, body: str) -> dict[str, Any]:
        made = {"id": next(self._ids), "user": {"login": author}, "body": body}
        self.comments.setdefault(number, []).append(made)
        return made

    def review(self, pull: int, author: str, body: str, path: str, line: int) -> None:
        made = {"id": next(self._ids), "user": {"login": author}, "body": body, "path": path,
                "line": line}  # fmt: skip
        self.review_comments.setdefault(pull, []).append(made)

    def reviewed(self, pull: int, author: str, body: str) -> None:
        """The words above a review's lines."""
        made = {"id": next(self._ids), "user": {"login": author}, "body": body,
                "state": "COMMENTED"}  # fmt: skip
        self.reviews.setdefault(pull, []).append(made)

    def token(self, login: str, **rights: str) -> str:
        """`issues`, `pulls`, `contents`: "read" or "write"; metadata may always be read."""
        name = f"token-{len(self.tokens)}"
        self.tokens[name] = Token(login, rights)
        return name

    def labels(self, number: int) -> set[str]:
        return {str(label["name"]) for label in self.issues[number]["labels"]}

    # ---------------------------------------------------------------- requests

    def refused(self, request: Request, right: str) -> Response | None:
        given = request.headers.get("authorization", "").partition(" ")[2]
        token = self.tokens.get(given)
        if token is None:
            return _error(401, "Bad credentials")
        level = "read" if request.method == "GET" else "write"
        have = "read" if right == "metadata" else token.rights.get(right, "none")
        if _ORDER.index(have) < _ORDER.index(level):
            return _error(403, "Resource not accessible by integration")
        return self._limited(level)

    def _limited(self, level: str) -> Response | None:
        now = time.time()
        if now >= self.reset:
            self.remaining = 5000
        if self.remaining <= 0:
            return _error(403, "API rate limit exceeded", self.rates())
        self.remaining -= 1
        if level == "write" and self.writes_a_minute is not None:
            self._writes = [t for t in self._writes if t > now - 60]
            if len(self._writes) >= self.writes_a_minute:
                self._writes.clear()
                return _error(403, "You have exceeded a secondary rate limit", {"retry-after": "1"})
            self._writes.append(now)
        return None

    def rates(self) -> dict[str, str]:
        return {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": str(self.remaining),
                "x-ratelimit-reset": str(int(self.reset))}  # fmt: skip

    def login(self, request: Request) -> str:
        return self.tokens[request.headers["authorization"].partition(" ")[2]].login

    def next_id(self) -> int:
        return next(self._ids)


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"message": message}, status, dict(headers or {}))


Handler = Callable[[GitHubServer, Request, Any], Any]


def _route(server: GitHubServer, path: str, method: str, right: str, handle: Handler) -> Route:
    async def answer(request: Request) -> Response:
        what = f"{request.method} {request.url.path}"
        server.log.append(what)
        fault = next((f for f in server.faults if f.times > 0 and f.match in what), None)
        if fault is not None:
            fault.times -= 1
        if fault is not None and not fault.after:
            return _error(fault.status, fault.message, fault.headers)
        refused = server.refused(request, right)
        if refused is not None:
            return refused
        data = json.loads(await request.body() or b"null")
        if request.method != "GET" and not server.on_write("before", what):
            return _error(500, "never heard")
        status, said = handle(server, request, data)
        if request.method != "GET":
            server.on_write("after", what)
        if fault is not None:
            return _error(fault.status, fault.message, fault.headers)
        return _paged(server, request, status, said)

    return Route(f"/repos/{REPO}{path}", answer, methods=[method])


def _paged(server: GitHubServer, request: Request, status: int, said: Any) -> Response:
    headers = server.rates()
    if isinstance(said, list):
        page = int(request.query_params.get("page", "1"))
        size = min(int(request.query_params.get("per_page", _PAGE)), 100)
        more = len(said) > page * size
        said = said[(page - 1) * size : page * size]
        if more:
            url = request.url.include_query_params(page=page + 1)
            headers["link"] = f'<{url}>; rel="next"'
    return Response(status_code=204, headers=headers) if status == 204 else JSONResponse(
        said, status, headers
    )  # fmt: skip


def _number(request: Request) -> int:
    return int(request.path_params["number"])


def _issue(server: GitHubServer, request: Request, _: Any) -> Any:
    found = server.issues.get(_number(request))
    return (200, found) if found else (404, {"message": "Not Found"})


def _permission(server: GitHubServer, request: Request, _: Any) -> Any:
    known = server.people.get(request.path_params["login"])
    if known is None:
        return 404, {"message": "Not Found"}
    # As GitHub does: `permission` knows no triage and no maintain, nor an organisation's own roles,
    # which are given here as "ROLE/WHAT IT IS MADE FROM".
    role, _, made_from = known.partition("/")
    legacy = {"maintain": "write", "triage": "read"}.get(known, made_from or known)
    return 200, {"permission": legacy, "role_name": role}


def _comments(server: GitHubServer, request: Request, _: Any) -> Any:
    return 200, list(server.comments.get(_number(request), []))


def _add_comment(server: GitHubServer, request: Request, data: Any) -> Any:
    return 201, server.comment(_number(request), server.login(request), data["body"])


def _edit_comment(server: GitHubServer, request: Request, data: Any) -> Any:
    id_ = int(request.path_params["id"])
    found = [c for rows in server.comments.values() for c in rows if c["id"] == id_]
    if not found:
        return 404, {"message": "Not Found"}
    found[0]["body"] = data["body"]
    return 200, found[0]


def _labels(server: GitHubServer, request: Request, _: Any) -> Any:
    return 200, list(server.issues[_number(request)]["labels"])


def _add_labels(server: GitHubServer, request: Request, data: Any) -> Any:
    labels = server.issues[_number(request)]["labels"]
    known = {label["name"] for label in labels}
    labels += [{"name": name} for name in data["labels"] if name not in known]
    return 200, labels


def _drop_label(server: GitHubServer, request: Request, _: Any) -> Any:
    labels = server.issues[_number(request)]["labels"]
    labels[:] = [label for label in labels if label["name"] != request.path_params["name"]]
    return 200, labels


def _list_pulls(server: GitHubServer, request: Request, _: Any) -> Any:
    head = request.query_params.get("head", "").partition(":")[2]
    state = request.query_params.get("state", "open")
    return 200, [
        pull for pull in server.pulls.values()
        if pull["state"] == state and head in ("", pull["head"]["ref"])
    ]  # fmt: skip


def _open_pull(server: GitHubServer, request: Request, data: Any) -> Any:
    own = (p for p in server.pulls.values() if p["head"]["repo"]["full_name"] == REPO)
    taken = [p for p in own if p["head"]["ref"] == data["head"]]
    if any(pull["state"] == "open" for pull in taken):
        message = f"A pull request already exists for {data['head']}."
        return 422, {"message": "Validation Failed", "errors": [{"message": message}]}
    number = server.next_id()
    head = {"ref": data["head"], "repo": {"full_name": REPO}}
    server.pulls[number] = {
        "number": number, "state": "open", "user": {"login": server.login(request)},
        "head": head, "base": {"ref": data["base"]}, "draft": data.get("draft", False),
        "title": data["title"], "body": data["body"],
    }  # fmt: skip
    server.issue(number, data["title"], data["body"], server.login(request))
    server.issues[number]["pull_request"] = {}
    return 201, server.pulls[number]


def _pull(server: GitHubServer, request: Request, _: Any) -> Any:
    found = server.pulls.get(_number(request))
    return (200, found) if found else (404, {"message": "Not Found"})


def _edit_pull(server: GitHubServer, request: Request, data: Any) -> Any:
    pull = server.pulls[_number(request)]
    pull.update({key: data[key] for key in ("title", "body", "state") if key in data})
    return 200, pull


def _reviews(server: GitHubServer, request: Request, _: Any) -> Any:
    return 200, list(server.reviews.get(_number(request), []))


def _review_comments(server: GitHubServer, request: Request, _: Any) -> Any:
    return 200, list(server.review_comments.get(_number(request), []))


def _pull_files(server: GitHubServer, request: Request, _: Any) -> Any:
    pull = server.pulls[_number(request)]
    span = f"{pull['base']['ref']}...{pull['head']['ref']}"
    git = ["git", "-C", str(server.origin), "diff"]
    names = _output([*git, "--name-only", span]).splitlines()
    patches = {name: _output([*git, span, "--", name]).partition("@@") for name in names}
    return 200, [{"filename": n, "patch": at + rest} for n, (_, at, rest) in patches.items()]


def _output(words: list[str]) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def _contents(server: GitHubServer, request: Request, _: Any) -> Any:
    path = request.path_params["path"]
    found = server.files.get((request.query_params.get("ref", ""), path))
    if found is None:
        return 404, {"message": "Not Found"}
    content = base64.encodebytes(found).decode()
    return 200, {"type": "file", "encoding": "base64", "path": path, "content": content}


def _attachments(server: GitHubServer) -> Route:
    """The host's own pages, where no token is asked for, nor should be sent."""

    async def answer(request: Request) -> Response:
        path = request.url.path
        server.log.append(f"{request.method} {path}")
        assert "authorization" not in request.headers
        if path in server.redirects:
            return Response(status_code=302, headers={"location": server.redirects[path]})
        found = server.attachments.get(path)
        return Response(found) if found is not None else _error(404, "Not Found")

    return Route("/{path:path}", answer)


_ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("/issues/{number:int}", "GET", "issues", _issue),
    ("/issues/{number:int}/comments", "GET", "issues", _comments),
    ("/issues/{number:int}/comments", "POST", "issues", _add_comment),
    ("/issues/comments/{id:int}", "PATCH", "issues", _edit_comment),
    ("/issues/{number:int}/labels", "GET", "issues", _labels),
    ("/issues/{number:int}/labels", "POST", "issues", _add_labels),
    ("/issues/{number:int}/labels/{name}", "DELETE", "issues", _drop_label),
    ("/collaborators/{login}/permission", "GET", "metadata", _permission),
    ("/contents/{path:path}", "GET", "contents", _contents),
    ("/pulls", "GET", "pulls", _list_pulls),
    ("/pulls", "POST", "pulls", _open_pull),
    ("/pulls/{number:int}", "GET", "pulls", _pull),
    ("/pulls/{number:int}", "PATCH", "pulls", _edit_pull),
    ("/pulls/{number:int}/files", "GET", "pulls", _pull_files),
    ("/pulls/{number:int}/comments", "GET", "pulls", _review_comments),
    ("/pulls/{number:int}/reviews", "GET", "pulls", _reviews),
    ("", "GET", "metadata", lambda *_: (200, {"full_name": REPO, "default_branch": "main"})),
)


def _user(server: GitHubServer) -> Route:
    """Told of a person's token; a workflow's is of nobody who could be asked about."""

    async def answer(request: Request) -> Response:
        login = server.login(request)
        if login.endswith("[bot]"):
            return _error(403, "Resource not accessible by integration")
        return JSONResponse({"login": login})

    return Route("/user", answer)


def _app(server: GitHubServer) -> Starlette:
    return Starlette(
        routes=[_user(server), *(_route(server, *row) for row in _ROUTES), _attachments(server)]
    )
