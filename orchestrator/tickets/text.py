"""Strangers' Markdown as a reader sees it, and quoted so that it cannot pass for ours."""

import re
import unicodedata

#: More than any honest ticket; GitHub itself allows 65,536 characters.
MOST = 20_000

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_UNSEEN = re.compile(
    r"<(script|style|template|noscript|title|object|iframe|svg|math|head)\b.*?(?:</\1\s*>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_HIDDEN = re.compile(
    r"<(\w+)\b[^>]*?(?:\bhidden\b|display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0"
    r"|opacity\s*:\s*0|aria-hidden)[^>]*>.*?(?:</\1\s*>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_IMAGE = re.compile(r"!\[[^\]\n]*\]\([^)\n]*\)|!\[[^\]\n]*\]\[[^\]\n]*\]")
_LINK = re.compile(r"\[([^\]\n]*)\]\(([^)\s]*)(?:\s+[^)\n]*)?\)")
#: `[//]: # (text)` and `[x]: url "title"` are never rendered.
_DEFINITION = re.compile(r"^ {0,3}\[[^\]\n]*\]:.*$", re.MULTILINE)
_BLANKS = re.compile(r"\n{3,}")


def visible(text: str) -> str:
    """What a reader of the page sees, as plain lines, at most `MOST` characters.

    Comments, hidden and never rendered elements, tags, images with their alternative texts, link
    titles, and characters without a shape (zero width, direction, tags, variation) are gone. What
    is within code is treated alike: a tag lost from an example harms less than a hidden order.
    """
    text = text[: 4 * MOST]  # GitHub itself keeps less; patterns are not run over more
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = "".join(c for c in text if c in "\n\t" or _has_shape(c))
    for unseen in (_COMMENT, _UNSEEN, _HIDDEN, _IMAGE, _DEFINITION, _TAG, _COMMENT):
        text = unseen.sub("", text)
    text = _LINK.sub(r"\1 (\2)", text)
    text = _BLANKS.sub("\n\n", text).strip()
    return text if len(text) <= MOST else text[:MOST] + "\n(cut here: too long)"


def _has_shape(c: str) -> bool:
    if unicodedata.category(c) in {"Cf", "Cc", "Co", "Cn", "Cs", "Zl", "Zp"}:
        return False
    # Variation selectors, Hangul fillers, the Braille blank: invisible, and used to carry text.
    return not (0xFE00 <= ord(c) <= 0xFE0F or 0xE0100 <= ord(c) <= 0xE01EF) and c not in _FILLERS


_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")


def quoted(text: str) -> str:
    """Visible text with `| ` before every line: no line of it can end the quotation."""
    return "\n".join(f"| {line}".rstrip() for line in visible(text).split("\n"))


def raw_quoted(text: str) -> str:
    """A file's text, which no Markdown hides anything in, quoted the same way: without characters
    that have no shape, and each of its lines marked."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = "".join(c for c in text if c in "\n\t" or _has_shape(c))
    return "\n".join(f"| {line}".rstrip() for line in text.rstrip("\n").split("\n"))
