"""A bucket that speaks S3 on a socket: PUT (with If-None-Match), GET and HEAD of objects.

Requests must be signed by the key it was made with; the signature itself (AWS, version 4) is
worked out again from the request, as the documentation tells.
"""

import hashlib
import hmac
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

from tests.emulators.threaded import serving

KEY, SECRET, REGION = "AKIATEST", "not-a-secret", "eu-test-1"


class Bucket:
    """`objects` by `BUCKET/KEY`; `puts` counts those that changed something."""

    def __init__(self) -> None:
        self.url = ""
        self.objects: dict[str, bytes] = {}
        self.puts = 0
        self.refused: list[str] = []
        self.lock = threading.Lock()


def signature(method: str, path: str, query: str, headers: Mapping[str, str]) -> str:
    """What the header `Authorization` must end with."""
    told = dict(
        part.strip().split("=", 1) for part in headers["authorization"].split(" ", 1)[1].split(",")
    )
    signed = told["SignedHeaders"]
    lines = [f"{name}:{' '.join(headers[name].split())}\n" for name in signed.split(";")]
    request = "\n".join(
        [method, path, query, "".join(lines), signed, headers["x-amz-content-sha256"]]
    )
    _, day, region, service, kind = told["Credential"].split("/")
    scope = f"{day}/{region}/{service}/{kind}"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, digest])
    key = b"AWS4" + SECRET.encode()
    for part in (day, region, service, kind):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    bucket: Bucket
    protocol_version = "HTTP/1.1"

    def _answer(self, status: int, body: bytes = b"", *, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("ETag", '"etag"')
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 18:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def _allowed(self) -> bool:
        headers = {name.lower(): value for name, value in self.headers.items()}
        parts = urlsplit(self.path)
        said = headers.get("authorization", "")
        if said and f"Credential={KEY}/" in said:
            wanted = signature(self.command, parts.path, parts.query, headers)
            if said.endswith(f"Signature={wanted}"):
                return True
        self.bucket.refused.append(self.path)
        self._answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        return False

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/")

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._allowed():
            return
        with self.bucket.lock:
            if self.headers.get("If-None-Match") == "*" and self._key in self.bucket.objects:
                self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            self.bucket.objects[self._key] = data
            self.bucket.puts += 1
        self._answer(200)

    def do_GET(self) -> None:
        if not self._allowed():
            return
        data = self.bucket.objects.get(self._key)
        if data is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._answer(200, data)

    def do_HEAD(self) -> None:
        if self._allowed():
            data = self.bucket.objects.get(self._key)
            self._answer(404 if data is None else 200, length=len(data or b""))

    def log_message(self, *_args: object) -> None:
        return


@contextmanager
def bucket() -> Iterator[Bucket]:
    """At `url`, on loopback and a free port; every bucket's name is good."""
    kept = Bucket()
    handler = type("Handler", (_Handler,), {"bucket": kept})
    with serving(handler) as kept.url:
        yield kept
