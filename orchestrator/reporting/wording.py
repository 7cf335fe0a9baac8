"""How facts are put into words for people: one clean line of hostile text, money, time, models."""

import re
import shlex
import unicodedata

from orchestrator.runs.state import RunState

#: Terminal sequences as a whole, so that removing the escape does not leave "[31m" behind.
_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_].*?(?:\x07|\x1b\\|$)|[ -/]*[0-~]?)", re.DOTALL
)

#: Control, format (such as right-to-left overrides), surrogate, private, unassigned.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})

_MARKUP = re.compile(r"[\\`*\[\]<|~]|(?<![^\W_])_|_(?![^\W_])|^[#>+=-]|(?<=^\d)[.)](?!\S)")

#: What a person reads of one reason; the whole is in the event and the attempt's folder.
LINE = 300

#: Hostile text is cut before it is cleaned, so that its length costs nothing.
_MOST = 20_000

SOURCES = {
    "scripted": "scripted recordings (written by a person, no model was asked)",
    "recorded": "recorded (a real model's answers played back, no model was asked)",
}


def one_line(text: str, limit: int = LINE) -> str:
    """`text` as one line without control characters, at most `limit` characters long."""
    text = text[:_MOST]
    if not text.isprintable():  # most is, and then nothing in it can be hidden
        text = _SEQUENCE.sub("", text)
        text = "".join(" " if c.isspace() else c for c in text if c.isspace() or _shown(c))
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def visible(text: str) -> str:
    """`text` in its lines, with what a terminal would act on, or show nothing of, written as
    in a Python string: \\x1b, \\u202e."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(c if c in "\n\t" or _shown(c) else ascii(c)[1:-1] for c in text)


def markdown(text: str, limit: int = LINE) -> str:
    """`text` as one line of Markdown that reads as it is written: no markup, table or HTML.

    Underscores within words mean nothing in Markdown and stay, for the sake of test names.
    """
    return _MARKUP.sub(r"\\\g<0>", one_line(text, limit))


def money(known: float, unknown: bool = False) -> str:
    """`$1.25`, `$0.0031`, `at least $1.25`, `unknown`: an unknown part is never shown as zero."""
    text = f"${known:.2f}" if known >= 0.1 or known == 0 else f"${known:.4f}"
    if not unknown:
        return text
    return f"at least {text}" if known else "unknown"


def lost(calls: int, usd: float | None) -> str:
    """What is to be said of calls that may have been charged, and nobody knows what."""
    most = "" if usd is None else f", {money(usd)} at most"
    return f"{counted(calls, 'call')} of unknown cost{most}: cut off before the end of the reply"


def duration(seconds: float | None) -> str:
    """`4s`, `3m05s`, `2h07m`; empty when not known."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def command(workspace: str, *words: str) -> str:
    """`fibreflow ...` as it can be typed anywhere; from the workspace where that is not known."""
    where = ["--workspace", workspace] if workspace else []
    return one_line(shlex.join(["fibreflow", *words, *where]), _MOST)


def counted(number: int, noun: str) -> str:
    """`1 attempt`, `2 attempts`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def model_source(run: RunState) -> str:
    """Who answers in this run, so that a recording is never taken for a model."""
    sources = run.sources or (run.model,)
    models = ", ".join(one_line(m, 60) for m in run.models)
    live = f"live {models}".rstrip()
    return "; ".join(live if s == "live" else SOURCES.get(s, one_line(s, 80)) for s in sources)


def asked_a_model(run: RunState) -> bool:
    """False when every answer came from a file."""
    return not set(run.sources or (run.model,)) <= set(SOURCES)


def unisolated(run: RunState) -> str:
    """The warning that stays on the screen while nothing isolates the attempts; else empty."""
    if run.sandbox != "process":
        return ""
    return "sandbox: process (NO ISOLATION: attempts can read and change this machine's files)"


def _shown(character: str) -> bool:
    return unicodedata.category(character) not in _HIDDEN
