"""Masks what differs from one occurrence of a failure to the next, and what nobody may read."""

import re
from collections.abc import Callable

#: Shapes of secrets, as `harness.verify.patch` refuses them, and assignments that name one.
_SECRETS = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----.*?(?:-----END[^-]*-----|\Z)"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bsk-[A-Za-z0-9_-]{20,}"
    r"|\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,})"
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"
    r"|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)",
    re.DOTALL,
)
_ASSIGNED = re.compile(
    r"(?i)\b(\w*(?:password|passwd|secret|token|api_?key|credential)\w*['\"]?\s*[:=]\s*)"
    r"(['\"]?)([^\s'\",;]{6,})"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{12,}")

#: In this order: what is found first is not looked at again, because nothing matches "<word>".
_MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (re.compile(r"\bhttps?://[^\s'\"<>)]+"), "<url>"),
    (re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]+\b"), "<email>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"),
     "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b"), "<time>"),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b"), "<ip>"),
    (re.compile(r"\[(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}\](?::\d+)?", re.IGNORECASE), "<ip>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"(?<![\w.])(?:/(?:tmp|var|private|home|root|proc|dev)/|[A-Za-z]:\\)[^\s:'\",)\]]+"),
     "<path>"),
    (re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{7,64}\b"), "<hex>"),
    (re.compile(r"(?<![\w<])[-+]?\d+(?:[.,_]\d+)*(?:e[-+]?\d+)?(?:\s?(?:ns|us|ms|s|m|h|MB|KB|GB|%))?"
                r"(?!\w)", re.IGNORECASE), "<n>"),
)  # fmt: skip

_QUOTED = re.compile(r"(?P<q>['\"`])(?P<text>(?:(?!(?P=q))[^\\]|\\.)*)(?P=q)")
_NAME = re.compile(r"[A-Za-z_@][\w./@-]{0,80}\Z")
_DIGITS_IN_NAME = re.compile(r"\d+")
_INNERMOST = re.compile(r"\[[^\[\]{}]*\]|\{[^\[\]{}]*\}")

#: What is masked of one message; hostile text is cut before it is looked at.
MOST = 2_000
MESSAGE_CHARS = 200


def redact(text: str) -> str:
    """`text` with what looks like a secret replaced. Shapes only: no promise to find them all."""
    text = _SECRETS.sub("<secret>", text)
    text = _BEARER.sub(r"\1 <secret>", text)
    return _ASSIGNED.sub(r"\1\2<secret>", text)


def mask(message: str, *, values: bool = False) -> str:
    """The part of a message that stays the same when the failure happens again.

    Identifiers in quotes stay, because `No module named 'x'` is another failure for another x;
    numbers, addresses, times, paths of this machine and other quoted text do not. `values`: the
    message compares values (an assertion), so that containers and all quoted text go too.
    """
    text = redact(" ".join(message[:MOST].split()))
    text = _QUOTED.sub(_values_out if values else _names_stay, text)
    if values:
        text = _without_containers(text)
    for shape, name in _MASKS:
        text = shape.sub(name, text)
    return text[:MESSAGE_CHARS].rstrip()


def _names_stay(match: "re.Match[str]") -> str:
    text = match["text"]
    if _NAME.match(text) and not text.startswith(("/", ".")):
        return f"'{_DIGITS_IN_NAME.sub('<n>', text)}'"
    return "<text>"


_values_out: Callable[["re.Match[str]"], str] = lambda _match: "<text>"  # noqa: E731 - a constant


def _without_containers(text: str) -> str:
    for _ in range(8):  # nesting beyond that is cut by pytest itself
        shorter = _INNERMOST.sub("<values>", text)
        if shorter == text:
            break
        text = shorter
    return text
