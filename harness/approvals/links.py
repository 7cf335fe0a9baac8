"""Signed links: each is for one request or the list, one person and one time."""

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import urlencode


@dataclass(frozen=True, slots=True)
class Link:
    """Whom it lets answer what; `expires` in seconds since the epoch. An empty `request`: it
    lists them all."""

    request: str
    who: str
    expires: int

    def signature(self, secret: bytes, purpose: str = "link") -> str:
        """Over everything in it, with lengths, so that no two links have the same text."""
        parts = (purpose, self.request, self.who, str(self.expires))
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()

    def path(self, secret: bytes) -> str:
        query = {"who": self.who, "expires": self.expires, "key": self.signature(secret)}
        return f"/approvals/{self.request}?{urlencode(query)}"


def refusal(link: Link, key: str, secret: bytes, now: float) -> str:
    """Why it opens nothing, empty when it does."""
    if not hmac.compare_digest(link.signature(secret).encode(), key.encode()):
        return "this link was not made here, or was changed"
    return "this link has expired; ask for a new one" if now >= link.expires else ""
