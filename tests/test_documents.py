"""What the documents name is there: files, links, tests, commands and their flags."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli.flags import _parser

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "skills/*.md", "examples/*/README.md")
    for path in ROOT.glob(pattern)
)
OURS = ("benchmarks", "deploy", "docs", "examples", "harness", "orchestrator", "scripts", "skills",
        "tests", ".github")  # fmt: skip
#: Of projects that FibreFlow works on, or made by it there.
THEIRS = {"setup.py", "helpers.py", "tests/helpers/", "docs/plan/", "vps_health/thresholds.py",
          ".github/fibreflow.yaml"}  # fmt: skip
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def words(text: str) -> Iterator[str]:
    """Words in backquotes."""
    for quoted in re.findall(r"`([^`\n]+)`", text):
        yield from (word.strip(".,;:()'\"") for word in quoted.split())


@pytest.fixture(scope="module")
def files() -> frozenset[str]:
    """All files and folders, each also by the ends of its path: `a/b`, `b`."""
    found = [path for top in OURS for path in (ROOT / top).rglob("*")]
    found += ROOT.iterdir()
    return frozenset(
        "/".join(parts[start:])
        for path in found
        if "__pycache__" not in (parts := path.relative_to(ROOT).parts)
        for start in range(len(parts))
    )


def is_ours(word: str) -> bool:
    if word in THEIRS or re.search(r"[A-Z]{2}|\bN\b|[^\w./*-]", word):  # a placeholder; no path
        return False
    is_test = re.fullmatch(r"(\w+/)*test_\w+", word) is not None
    return (
        word.endswith(".py") or is_test or ("/" in word and word.split("/", maxsplit=1)[0] in OURS)
    )


def is_there(word: str, files: frozenset[str]) -> bool:
    if "*" in word:
        form = re.compile(re.escape(word).replace(r"\*", "[^/]*"))
        return any(form.fullmatch(file) for file in files)
    return word.rstrip("/") in files or f"{word}.py" in files


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_files_that_are_named_exist(document: Path, files: frozenset[str]) -> None:
    named = {word for word in words(document.read_text("utf-8")) if is_ours(word)}
    assert [word for word in sorted(named) if not is_there(word, files)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", document.read_text("utf-8"))
    lost = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert lost == []


def parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Those right below, by the word that leads there."""
    below = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return {word: sub for action in below for word, sub in action.choices.items()}


def commands(text: str) -> Iterator[list[str]]:
    """The words after `fibreflow` where it is quoted or stands in a block of code."""
    for line in re.findall(r"`(fibreflow [^`\n]+)`|^ {4}(fibreflow .+)$", text, re.MULTILINE):
        said = re.split(r"[|;#&]|\s{3,}", "".join(line), maxsplit=1)[0]
        yield said.replace("[", " ").replace("]", " ").split()[1:]


def mistake(said: list[str], parser: argparse.ArgumentParser) -> str:
    """The first word of a command that nothing answers to; empty for none."""
    known = set[str]()
    if said[0].startswith("-"):
        said = ["run", *said]
    for word in said[: said.index("--")] if "--" in said else said:
        if re.fullmatch(r"[a-z]+", word) and (below := parsers(parser)):
            if word not in below:
                return word
            parser = below[word]
        known.update(parser._option_string_actions)
        flag = re.match(r"--?[a-z-]+", word)
        if flag is not None and flag.group() not in known:
            return word
    return ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_commands_and_their_flags_are_answered(document: Path) -> None:
    parser, all_said = _parser(), commands(document.read_text("utf-8"))
    wrong = {" ".join(said): mistake(said, parser) for said in all_said}
    assert {said: word for said, word in wrong.items() if word} == {}


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    text = "\n".join(path.read_text("utf-8") for path in DOCUMENTS)
    named = set(re.findall(r"(?:`| {4})make ([a-z-]+)", text))
    assert len(named) > 3
    assert named - targets == set()
