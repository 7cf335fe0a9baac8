"""The parts of GitHub's API that tickets need, with its limits respected and its errors ours."""

import asyncio
import base64
import contextlib
import email.utils
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import gidgethub
import httpx2
from gidgethub import abc as gidget

from orchestrator.errors import TicketError

API = "https://api.github.com"
#: The longest that a limit is waited out; a job's own time is money too.
_PATIENCE = 120.0
_TRIES = 4
_WAITS = (403, 429, 500, 502, 503, 504)
_SECONDS = 30.0
#: Of an attachment; more than is quoted, so that a log's first lines can be had.
_MOST_BYTES = 1_000_000


class _Api(gidget.GitHubAPI):
    """gidgethub over httpx2; waits where GitHub says how long, and where it is broken."""

    def __init__(self, client: httpx2.AsyncClient, token: str | None, url: str) -> None:
        super().__init__("fibreflow", oauth_token=token, base_url=url)
        self._client = client

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        answer = await self._client.request(method, url, headers=dict(headers), content=body)
        return answer.status_code, answer.headers, answer.content

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def handle_rate_limit_error(
        self,
        *,
        method: str,
        url: str,  # noqa: ARG002 - the library's signature
        exception: gidgethub.HTTPException,
        attempt: int,
    ) -> bool:
        wait = _wait(exception, method, attempt)
        if wait is None or wait > _PATIENCE or attempt >= _TRIES:
            return False
        await self.sleep(wait)
        return True


def _wait(error: gidgethub.HTTPException, method: str, attempt: int) -> float | None:
    """Seconds until the request may be repeated, None when it may not.

    A 5xx of a request that writes is not repeated here: it may have been done, and who asked
    looks at the world first.
    """
    headers = error.headers or {}
    status = int(error.status_code)
    if status not in _WAITS:
        return None
    if "retry-after" in headers:
        return _seconds(headers["retry-after"])
    if isinstance(error, gidgethub.RateLimitExceeded):
        return max(0.0, float(headers.get("x-ratelimit-reset", "0")) - time.time()) + 1.0
    if status >= 500 and method == "GET":
        return float(2**attempt) / 4
    return None


def _seconds(text: str) -> float:
    """Of a Retry-After header: a number, or a date."""
    if text.strip().isdigit():
        return float(text)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    return 60.0  # GitHub's advice where nothing is said


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except gidgethub.HTTPException as error:
        status = int(error.status_code)
        remedy = {
            401: "; the token is missing or expired",
            403: "; give the job's token the permission that docs/tickets.md names for it",
            404: "; it does not exist, or the token may not see it",
        }.get(status, "")
        raise TicketError(
            f"GitHub refused to {what} ({status}): {error}{remedy}", status
        ) from error
    except (gidgethub.GitHubException, httpx2.HTTPError, ValueError) as error:
        raise TicketError(f"GitHub did not answer when asked to {what}: {error}") from error


class GitHub:
    """One repository (`owner/name`), seen with one token. Raises `TicketError`."""

    def __init__(self, api: _Api, repo: str, client: httpx2.AsyncClient) -> None:
        self._api = api
        self._client = client
        self.repo = repo
        self._root = f"/repos/{repo}"

    async def get(self, path: str, what: str) -> Any:
        with _translated(what):
            return await self._api.getitem(f"{self._root}{path}")

    async def all(self, path: str, what: str, most: int = 3000) -> list[Any]:
        """Every item of a list, page by page, at most `most`."""
        found: list[Any] = []
        with _translated(what):
            pages = f"{self._root}{path}{'&' if '?' in path else '?'}per_page=100"
            async for item in self._api.getiter(pages):
                found.append(item)
                if len(found) >= most:
                    break
        return found

    async def post(self, path: str, data: Mapping[str, Any], what: str) -> Any:
        with _translated(what):
            return await self._api.post(f"{self._root}{path}", data=data)

    async def patch(self, path: str, data: Mapping[str, Any], what: str) -> Any:
        with _translated(what):
            return await self._api.patch(f"{self._root}{path}", data=data)

    async def delete(self, path: str, what: str) -> None:
        with _translated(what):
            await self._api.delete(f"{self._root}{path}")

    async def blob(self, path: str, ref: str) -> bytes:
        """A file at a branch, tag or commit; of a size that the API gives whole, 1 MB."""
        said = await self.get(
            f"/contents/{quote(path)}?ref={quote(ref, safe='')}", f"read {path} at {ref}"
        )
        if not isinstance(said, dict) or said.get("encoding") != "base64":
            raise TicketError(f"{path} at {ref} is no file, or too large")
        with _translated(f"read {path}"):
            return base64.b64decode(str(said.get("content") or ""))

    async def attachment(self, url: str) -> bytes:
        """What was attached to a ticket, asked for without the token. Two redirections are
        followed, to the host itself or to where GitHub keeps such files, and nowhere else."""
        with _translated("read an attachment"):
            answer = await self._client.get(url)
            for _ in range(2):
                where = answer.headers.get("location", "")
                if answer.is_redirect and _keeps(where, url):
                    answer = await self._client.get(where)
            if answer.status_code != 200 or len(answer.content) > _MOST_BYTES:
                raise TicketError(f"{url} is not there for everybody, or too large")
            return answer.content

    async def pull_of(self, branch: str) -> dict[str, Any] | None:
        """The open pull request of a branch of this repository; forks may have one called so."""
        owner = self.repo.partition("/")[0]
        path = f"/pulls?state=open&head={owner}:{branch}"
        for pull in await self.all(path, "look for the pull request"):
            if ((pull.get("head") or {}).get("repo") or {}).get("full_name") == self.repo:
                return dict(pull)
        return None

    async def login(self) -> str:
        """Whom the token writes as; a workflow's own token is not told."""
        try:
            with _translated("ask whose token it is"):
                return str((await self._api.getitem("/user"))["login"])
        except TicketError as error:
            if error.status == 403:
                return "github-actions[bot]"
            raise


def _keeps(where: str, url: str) -> bool:
    """Whether GitHub keeps attachments there."""
    host, own = urlsplit(where), urlsplit(url)
    if (host.scheme, host.netloc) == (own.scheme, own.netloc):
        return True
    return host.scheme == "https" and host.netloc == "objects.githubusercontent.com"


@contextlib.asynccontextmanager
async def opened(repo: str, token: str | None, url: str = API) -> AsyncIterator[GitHub]:
    owner, _, name = repo.partition("/")
    if not owner or not name or not all(c.isalnum() or c in "-_./" for c in repo) or ".." in repo:
        raise TicketError(f"{repo!r} is not a repository; write OWNER/NAME")
    async with httpx2.AsyncClient(timeout=_SECONDS) as client:
        yield GitHub(_Api(client, token, url.rstrip("/")), repo, client)
