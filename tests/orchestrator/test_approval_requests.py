"""Which answers count: who, when, and about what."""

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.approval_requests import Answer, People, Request, refusal, standing

REQUEST = Request(
    id="q1", strategy="REQUIRED", environment="production", run="r", commit="c" * 40,
    digest="d" * 64, requester="alice", asked=100.0, expires=200.0,
)  # fmt: skip
EXPERT = replace(REQUEST, strategy="EXPERT")
TEAM = People(
    {"alice": ("slack:U1",), "bob": ("slack:U2",), "carol": ()}, experts=("carol", "alice")
)
NOBODY = People()
APPROVED = Answer("approved", "bob", "", 150.0, "cli")
REJECTED = Answer("rejected", "bob", "not yet", 150.0, "cli")


@pytest.mark.parametrize(
    ("request_", "people", "answer", "why"),
    [
        (REQUEST, TEAM, APPROVED, ""),
        (REQUEST, TEAM, replace(APPROVED, by="slack:U2", way="slack"), ""),
        (REQUEST, TEAM, replace(APPROVED, by="alice"), "somebody else"),
        (REQUEST, TEAM, replace(APPROVED, by="slack:U1", way="slack"), "somebody else"),
        (replace(REQUEST, requester="slack:U2"), TEAM, APPROVED, "somebody else"),
        (REQUEST, TEAM, replace(APPROVED, by="mallory"), "no approver"),
        (REQUEST, TEAM, replace(APPROVED, by="slack:U9", way="slack"), "no approver"),
        (REQUEST, TEAM, replace(APPROVED, by="Bob"), "no approver"),
        (REQUEST, TEAM, replace(APPROVED, by=""), "no approver"),
        (EXPERT, TEAM, APPROVED, "no expert"),
        (EXPERT, TEAM, replace(APPROVED, by="carol"), ""),
        (EXPERT, TEAM, replace(APPROVED, by="alice"), "somebody else"),
        (REQUEST, TEAM, replace(APPROVED, at=199.9), ""),
        (REQUEST, TEAM, replace(APPROVED, at=200.0), "too late"),
        (REQUEST, TEAM, REJECTED, ""),
        (REQUEST, TEAM, replace(REJECTED, by="alice"), ""),
        (REQUEST, TEAM, replace(REJECTED, by="mallory"), "no approver"),
        (REQUEST, TEAM, replace(REJECTED, reason="  "), "needs its reason"),
        (REQUEST, TEAM, replace(REJECTED, at=300.0), "too late"),
        (REQUEST, NOBODY, APPROVED, ""),
        (REQUEST, NOBODY, replace(APPROVED, by="alice"), ""),
        (REQUEST, NOBODY, replace(APPROVED, way="slack"), "none are configured"),
        (REQUEST, NOBODY, replace(APPROVED, way="web"), ""),
        (REQUEST, NOBODY, REJECTED, ""),
    ],
)
def test_who_and_when(request_: Request, people: People, answer: Answer, why: str) -> None:
    said = refusal(request_, answer, people)
    assert (why in said) if why else said == ""


@pytest.mark.parametrize("shown", [{"commit": "e" * 40}, {"digest": "e" * 64}])
def test_an_answer_about_another_commit_or_artifact(shown: dict[str, Any]) -> None:
    assert "another commit" in refusal(REQUEST, APPROVED, TEAM, **shown)
    same = refusal(REQUEST, APPROVED, TEAM, commit=REQUEST.commit, digest=REQUEST.digest)
    assert same == ""


def test_expiry_is_a_refusal_and_an_answer_in_time_stays() -> None:
    assert standing(REQUEST, None, 199.9) == "pending"
    assert standing(REQUEST, None, 200.0) == "expired"
    assert standing(REQUEST, APPROVED, 900.0) == "approved"
