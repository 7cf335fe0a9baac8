"""A person's rules are read with every problem named, and found as whole words."""

import pytest

from orchestrator.errors import InputError
from orchestrator.routing.rules import Rules, find, parse


def found(phrase: str, text: str) -> bool:
    return bool(find(Rules(words={"haiku": [phrase]}), text))


@pytest.mark.parametrize(
    ("phrase", "text", "is_there"),
    [
        ("read", "Read the file", True),
        ("read", "already spread", False),
        ("analy*", "an analysis of it", True),
        ("analy*", "psychoanalysis", False),
        ("look up", "look  up the name", True),
        ("deploy* ... production", "deploying the API to production", True),
        ("deploy* ... production", "deploy it " + "x" * 60 + " production", False),
        ("deploy* ... production", "production first, then deploy", False),
        ("c++", "port it to C++ now", True),
        ("zero-downtime", "a zero-downtime switch", True),
    ],
)
def test_phrases(phrase: str, text: str, is_there: bool) -> None:
    assert found(phrase, text) is is_there


def test_the_first_in_the_text_comes_first() -> None:
    rules = Rules(words={"haiku": ["list"], "sonnet": ["test", "list tests"]})
    assert [f.phrase for f in find(rules, "list tests, then test")] == [
        "list tests",
        "list",
        "test",
    ]


def test_every_problem_at_once_and_where() -> None:
    data = {
        "words": {"haiku": ["*", "a*b", "... x"], "huge": ["x"]},
        "agents": {"a": "gpt"},
        "size": {"short_characters": "50"},
        "wrods": {},
    }
    with pytest.raises(InputError) as error:
        parse(data, "routing.yaml")
    text = str(error.value)
    for part in ("routing.yaml", "haiku.0", "haiku.1", "haiku.2", "huge", "agents.a",
                 "short_characters", "wrods"):  # fmt: skip
        assert part in text


def test_a_chance_that_is_missing_is_named() -> None:
    with pytest.raises(InputError, match=r"chance\.opus\.haiku"):
        parse({"chance": {"opus": {"opus": 0.5}}}, "routing.yaml")


def test_an_empty_file_is_the_defaults() -> None:
    assert parse(None, "x") == Rules()
    with pytest.raises(InputError):
        parse([], "x")
