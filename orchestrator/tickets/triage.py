"""Sorts a ticket by rules before any model is asked: what it is, and whether to begin."""

import re
from dataclasses import dataclass
from typing import Literal

from orchestrator.tickets.text import visible
from orchestrator.tickets.ticket import Orders, Ticket

Sort = Literal["bug", "feature", "question", "duplicate", "too vague", "out of scope", "suspicious"]
WORKED_ON: frozenset[Sort] = frozenset({"bug", "feature"})


@dataclass(frozen=True, slots=True)
class Triage:
    """`why` is a sentence for a person; `questions` are asked once, of a vague ticket. `certain`: a
    label says so, and nobody else need be asked."""

    sort: Sort
    why: str
    questions: tuple[str, ...] = ()
    certain: bool = False

    @property
    def begins(self) -> bool:
        return self.sort in WORKED_ON


_SAY = (
    r"\b(print|send|post|include|dump|paste|echo|reveal|show|leak|upload|add|put|commit|base64)\b"
)
_TREASURE = (
    r"\b(api[ _-]?keys?|tokens?|secrets?|credentials?|passwords?|private keys?|ANTHROPIC_\w+)\b"
)
_OUR_PART = r"\b(previous|prior|above|earlier|all|your|system)\b"
_SHAPES = {
    "to disregard instructions": (
        r"\b(ignore|disregard|forget|override)\b.{0,40}" + _OUR_PART +
        r".{0,30}\b(instruction|prompt|rule|direction|guideline)s?",
    ),
    "to play another part": (
        r"\byou are (now|no longer)\b", r"\bnew (system )?(prompt|instructions?)\s*:",
        r"\bact as (an? )?(admin|root|maintainer|system)\b", r"<\|?(im_start|system)\b",
        r"\[/?INST\]",
    ),
    "for the environment or a process's memory": (
        r"/proc/(self|\d+|\*)/", r"\bprintenv\b",
        _SAY + r".{0,60}\b(environment variables?|os\.environ|env vars?)",
        r"\bos\.environ\b.{0,60}" + _SAY,
    ),
    "for a secret": (
        _SAY + r".{0,80}" + _TREASURE, r"\bexfiltrate\b", r"\$\{?\{?\s*secrets\.",
        r"\bGITHUB_TOKEN\b",
    ),
    "to send data elsewhere": (
        r"\b(curl|wget|nc|ncat|Invoke-WebRequest)\b[^\n]{0,200}\b(https?://|\d+\.\d+\.\d+\.\d+)",
        r"\b(curl|wget)\b[^\n]{0,200}\|\s*(ba|z|da)?sh\b",
    ),
    "to change a workflow or an agent's settings": (
        r"\.github/", r"\bpull_request_target\b", r"\b(CLAUDE|AGENTS)\.md\b", r"\.mcp\.json",
        r"\.claude/", r"\.cursor",
    ),
    "to approve or merge": (
        r"\b(approve|auto-?merge|merge|mark)\b.{0,40}\b(this|the|your|own|its|as)\b.{0,30}"
        r"\b(pull request|pr|ready|yourself|itself|branch)\b",
        r"\bgh pr (merge|review|ready)\b",
    ),
    "for a stranger to be taken for a maintainer": (
        r"\b(i am|i'm|as) (a|an|the|one of the)?\s*(repo(sitory)?|project|lead|core)?\s*"
        r"(maintainer|owner|admin(istrator)?)\b",
        r"\b(pre-?approved|authori[sz]ed) by\b",
    ),
    "the triage to run something": (
        r"\b(triage|bot|assistant|agent|fibreflow|ai)\b.{0,40}\b(must|should|please|run|execute)\b"
        r".{0,40}\b(run|execute|command|shell|script)\b",
        r"\brm -rf\b",
    ),
    "for a new dependency": (
        r"\b(pip3?|npm|yarn|pnpm|cargo|gem|go|apt(-get)?) (install|add|get|i)\b",
        r"\badd\b.{0,40}\b(to|as) (a |the )?(dependenc|requirements)",
    ),
    "for files outside of the repository": (
        r"(^|[\s`'\"(])(~/|\.\./\.\./|/etc/|/root/|/home/\w+/\.)", r"\.ssh\b",
        r"\.git/(hooks|config)",
    ),
}  # fmt: skip
#: What no honest description of a fault needs: (what it asks for, shapes of the request).
_SUSPICIOUS = tuple(
    (what, tuple(re.compile(shape, re.IGNORECASE) for shape in shapes))
    for what, shapes in _SHAPES.items()
)

_TRACE = re.compile(
    r"\b(traceback|exception|error|crash(es|ed)?|fails?|failing|broken|wrong|incorrect|bug|"
    r"regression|raises?|segfault|expected|actual(ly)?|instead of|returns?|"
    r"should (not|return|be|raise))\b",
    re.IGNORECASE,
)
_WISH = re.compile(
    r"\b(add|support|allow|implement|provide|introduce|feature|enhancement|would be (nice|great)|"
    r"option|make|rename|remove|document|improve)\b",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"^(how|what|why|when|where|who|which|is|are|can|could|does|do|should)\b", re.IGNORECASE
)
_CONCRETE = re.compile(r"`[^`]+`|\w+\(|\w+\.\w{1,5}\b|^\s*(>>>|\$ )|\d", re.MULTILINE)
_DUPLICATE = re.compile(r"\bduplicate of #\d+", re.IGNORECASE)
_FEW_WORDS = 8

QUESTIONS = (
    "What did you do (a command, a call, an input), word for word?",
    "What happened, and what did you expect instead?",
    "Which file, function or command is it about, and in which version?",
)


def triage(ticket: Ticket, given: Orders) -> Triage:
    """The first rule that fits. Strangers' words are weighed; those of people who may write to the
    repository, `ticket.said` and `given`, are what they decided and add to what is known."""
    text = f"{visible(ticket.title)}\n{visible(ticket.body)}"
    labels = {label.lower() for label in ticket.labels}
    odd = asks_for(text)
    if odd:
        return Triage("suspicious", f"its text asks {odd[0]}")
    if labels & {"duplicate"} or _DUPLICATE.search(text):
        return Triage("duplicate", "it is marked as a duplicate")
    if labels & {"wontfix", "invalid", "out of scope"}:
        return Triage("out of scope", "its labels say that it shall not be done")
    own = "\n".join([given.instructions, *(said.text for said in ticket.said)])
    if _vague(f"{text}\n{own}"):
        return Triage("too vague", "it does not say enough to begin with", QUESTIONS)
    return _sorted(text, labels, asked=bool(own.strip()))


def _sorted(text: str, labels: set[str], *, asked: bool) -> Triage:
    if "bug" in labels:
        return Triage("bug", "it is labelled as a bug", certain=True)
    if labels & {"enhancement", "feature"}:
        return Triage("feature", "it is labelled as a feature", certain=True)
    title = text.partition("\n")[0].strip()
    question = "question" in labels or (title.endswith("?") and _ASKS.match(title))
    if question and not asked and not _CONCRETE.search(text):
        return Triage("question", "it asks something, and names nothing to change")
    if _TRACE.search(text):
        return Triage("bug", "it tells of something that goes wrong")
    if _WISH.search(text):
        return Triage("feature", "it asks for something new")
    return Triage("bug", "nothing says otherwise")


def asks_for(text: str) -> tuple[str, ...]:
    """What a text asks for that no ticket has to; as words that follow "asks"."""
    return tuple(
        what for what, shapes in _SUSPICIOUS if any(shape.search(text) for shape in shapes)
    )


def _vague(text: str) -> bool:
    words = len(text.split())
    return words < _FEW_WORDS or (words < 2 * _FEW_WORDS and not _CONCRETE.search(text))
