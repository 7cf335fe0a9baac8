"""Which patterns are found for a feature: by failure, by file, by words."""

from dataclasses import replace

import pytest

from harness.learn.index import PatternIndex
from orchestrator.values import Feature
from tests.harness.learn.patterns import FEATURE, pattern

FAR = {"title": "Yaml anchors are not merged", "what": "KeyError: anchor", "fix": "Merge them."}


@pytest.fixture
def index():
    made = PatternIndex()
    yield made
    made.close()


def found(index, patterns, feature=FEATURE, failures=()):
    index.refresh({p.id: p for p in patterns})
    return {p.signature.where.removeprefix("app:"): why for p, why in index.find(feature, failures)}


def test_the_same_failure_is_found_whatever_it_says(index):
    far = pattern("far", **FAR)
    assert found(index, [far]) == {}
    assert found(index, [far], failures=[far.id]) == {"far": "same failure"}


@pytest.mark.parametrize(
    ("scope", "files", "near"),
    [
        (("vps/processes.py",), ("vps/processes.py",), True),
        (("vps/*.py",), ("vps/processes.py",), True),
        (("vps/**",), ("vps/deep/er.py",), True),
        (("vps/*.py",), ("other/processes.py",), False),
        (("vps/processes.py",), ("vps/processes.py.bak",), False),
        (("*",), ("vps/processes.py",), False),  # names no place
        ((), ("vps/processes.py",), False),
    ],
)
def test_what_happened_in_the_same_files_is_found(index, scope, files, near):
    feature = replace(FEATURE, scope=scope)
    assert bool(found(index, [pattern("p", **FAR, files=files)], feature)) is near


def test_what_happened_to_the_same_feature_is_found(index):
    assert found(index, [pattern("p", **FAR, features=("probe",))]) == {"p": "same scope"}


def test_words_are_found_when_enough_of_them_are_shared(index):
    near = pattern(
        "near", title="Zombies of the process table", what="", fix="Parse each stat line"
    )
    one = pattern("one", title="Zombies again", what="", fix="")
    assert found(index, [near, one]) == {"near": "similar words"}


@pytest.mark.parametrize("status", ["retired", "quarantined"])
def test_what_is_out_of_use_is_not_found(index, status):
    old = pattern("old", status=status, features=("probe",))
    assert found(index, [old], failures=[old.id]) == {}


def test_it_follows_the_file(index):
    one, two = pattern("one", features=("probe",)), pattern("two", features=("probe",))
    assert set(found(index, [one, two])) == {"one", "two"}
    assert set(found(index, [two])) == {"two"}  # taken out by hand
    moved = replace(two, features=("elsewhere",))
    assert found(index, [moved]) == {}
    assert found(index, [replace(moved, features=("probe",), status="kept")]) != {}


def test_words_of_a_query_language_mean_nothing(index):
    feature = Feature("x", 'zombies" OR * NEAR( NOT AND process:table ) -- \x00 stat')
    near = pattern("near", title="Zombies, process table, stat")
    assert found(index, [near], feature) == {"near": "similar words"}


def test_among_thousands_only_a_few_are_looked_at(index):
    many = [pattern(f"p{n}", title=f"Zombies process stat number {n}") for n in range(3000)]
    near = pattern("near", **FAR, files=("vps/processes.py",))
    result = found(index, [*many, near])
    assert result["near"] == "same scope"
    assert len(result) < 100
