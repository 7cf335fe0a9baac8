"""The first job: whether an event may start work on a ticket, and on which."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from harness.tickets import asking
from orchestrator.errors import TicketError
from orchestrator.tickets.ticket import Trigger

_SECONDS = 20.0
_TRIES = 3


async def admitted(given: Trigger, token: str | None, url: str) -> int:
    """The ticket's number. Raises `NotPermittedError` where who asks may not start work.

    A bot comes this far whatever its name: whether it is listed says a file of the base commit,
    which the next job reads, and asks once more.
    """
    github = PlainGitHub(given.repo, token, url)
    settled = await asking.settle(github, given)
    bots = frozenset({given.actor} if given.actor.endswith("[bot]") else ())
    await asking.permit(github, settled, bots)
    return settled.number


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """It would take the token along, wherever it leads."""

    def redirect_request(self, *_: object) -> None:
        return None


@dataclass(frozen=True, slots=True)
class PlainGitHub:
    """GitHub by the standard library: two questions do not pay for an installation."""

    repo: str
    token: str | None
    url: str

    async def get(self, path: str, what: str) -> Any:
        return await asyncio.to_thread(self._get, path, what)

    def _get(self, path: str, what: str) -> Any:
        headers = {"Accept": "application/vnd.github+json", "User-Agent": "fibreflow"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        where = f"{self.url.rstrip('/')}/repos/{self.repo}{path}"
        request = urllib.request.Request(where, headers=headers)  # noqa: S310 - GITHUB_API_URL
        opener = urllib.request.build_opener(_NoRedirection)
        for left in reversed(range(_TRIES)):
            try:
                with opener.open(request, timeout=_SECONDS) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code < 500 or not left:
                    message = f"GitHub refused to {what} ({error.code}): {error.reason}"
                    raise TicketError(message, error.code) from error
            except (OSError, HTTPException, ValueError) as error:
                if not left:
                    raise TicketError(f"GitHub did not answer to {what}: {error}") from error
            time.sleep(1.0)
        raise AssertionError("the last try returns or raises")
