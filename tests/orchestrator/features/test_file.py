"""Both forms read as meant; `passes` is written back and nothing else is touched."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.approval import Risk
from orchestrator.approval_requests import People
from orchestrator.deploy.values import Deploy, Environment, Smoke
from orchestrator.errors import FeatureListError
from orchestrator.features.file import decode, digest, parse, with_passes
from orchestrator.json_lines import plain, scan
from orchestrator.selection import Policy
from orchestrator.values import Defaults, Feature, Gate, Project, Reports
from scripts.write_schema import DOCS, TARGET, documented, rendered

# A shared machine may be slow; how long an example takes says nothing here.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

BARE = """[
  {"category": "functional", "description": "Reads the load", "steps": ["a", "b"],
   "passes": false},
  {"category": "UI & Style", "description": "Looks good"}
]
"""

FULL = """{
  "version": 1,
  "project": {"name": "demo", "repo": "build/demo", "base": "main", "branch": "auto/pilot",
              "setup": "pip install -e .", "test": "pytest -q", "protected": ["tests/**"],
              "env": {"TZ": "UTC"}, "seed": "examples/demo", "recording": "examples/rec",
              "min_mutation": 0.85,
              "gates": [{"name": "audit", "run": "audit", "at_least": 0.5, "when": ["*.lock"],
                         "allow": ["osv.dev"]}],
              "reports": {"junit": ["out/*.xml"], "coverage": ["lcov.info"]},
              "selection": {"weights": {"speed": 0, "tests": 50}, "min_consensus": 0.6,
                            "min_confidence": 0.2, "on_no_consensus": "best"},
              "deploy": {"adapter": "process", "command": ["./serve"], "health": "/up",
                         "staging": {"smoke": [{"get": "/x", "contains": "ok"}]},
                         "production": {"listen": 8080, "smoke": [{"run": "true"}]},
                         "approval": {"approvers": {"a": ["slack:U1"], "b": []}, "experts": ["b"],
                                      "at_least": "REQUIRED", "expires_hours": 2}}},
  "defaults": {"attempts": 4, "rounds": 2, "repairs": 1, "quorum": 1, "turns": 9,
               "timeout_minutes": 5, "budget_usd": 3, "agent": "builtin", "tier": "haiku"},
  "features": [
    {"id": "load", "category": "functional", "description": "Reads the load",
     "steps": ["a"], "depends_on": [], "priority": 2,
     "acceptance": ["pytest tests/test_load.py"], "scope": ["src/**"],
     "agent": "claude-code", "tier": "opus", "attempts": 7, "budget_usd": 0.5,
     "timeout_minutes": 2.5, "passes": true},
    {"id": "api", "description": "Serves it", "depends_on": ["load"]}
  ]
}
"""


DEPLOY = Deploy(
    adapter="process",
    command=("./serve",),
    health="/up",
    staging=Environment(smoke=(Smoke(get="/x", contains="ok"),)),
    production=Environment(smoke=(Smoke(run="true"),), listen=8080),
    expires=7200.0,
    risk=Risk(at_least="REQUIRED"),
    people=People({"a": ("slack:U1",), "b": ()}, ("b",)),
)


def test_bare_form_gets_ids_order_and_nothing_else() -> None:
    got = parse(BARE, "x")
    assert got.form == "bare"
    assert got.project == Project()
    assert got.defaults == Defaults()
    assert got.features == (
        Feature("functional-01", "Reads the load", "functional", ("a", "b"), priority=0),
        Feature("ui-style-02", "Looks good", "UI & Style", priority=1),
    )


def test_full_form_reads_every_key() -> None:
    got = parse(FULL, "x")
    assert got.form == "full"
    assert got.project == Project(
        name="demo", repo="build/demo", base="main", branch="auto/pilot",
        setup="pip install -e .", test="pytest -q", protected=("tests/**",), env={"TZ": "UTC"},
        seed="examples/demo", recording="examples/rec", deploy=DEPLOY,
        min_mutation=0.85, gates=(Gate("audit", "audit", 0.5, ("*.lock",), ("osv.dev",)),),
        reports=Reports(("out/*.xml",), ("lcov.info",)),
        selection=Policy(40, 50, 20, 0, 0.6, 0.2, "best"),
    )  # fmt: skip
    assert got.defaults == Defaults(
        attempts=4, rounds=2, quorum=1, timeout_minutes=5.0, turns=9, budget_usd=3.0,
        agent="builtin", tier="haiku", repairs=1,
    )  # fmt: skip
    assert got.features == (
        Feature(
            "load", "Reads the load", "functional", ("a",), (), 2,
            ("pytest tests/test_load.py",), ("src/**",), "claude-code", "opus", 7, 0.5, 2.5, True,
        ),
        Feature("api", "Serves it", depends_on=("load",)),
    )  # fmt: skip
    assert isinstance(got.defaults.timeout_minutes, float)


def test_smallest_full_form_takes_every_default() -> None:
    got = parse('{"features": [{"id": "a", "description": "b"}]}', "x")
    assert (got.project, got.defaults) == (Project(), Defaults())


def test_null_stands_for_the_default_where_there_is_none() -> None:
    text = """{"project": {"base": null, "setup": null, "protected": null, "deploy": null},
      "defaults": {"budget_usd": null, "tier": null}, "features": [{"id": "a", "description": "b",
      "acceptance": null, "category": null, "tier": null, "attempts": null}]}"""
    assert parse(text, "x").features == (Feature("a", "b"),)


@pytest.mark.parametrize(
    "category", ["Ünïcode", "日本語", "a" * 200, "..", "-x", "A  B", "x.lock", "a-01"]
)
def test_ids_of_the_bare_form_are_ids_of_the_full_form(category: str) -> None:
    entries = [{"category": category, "description": "b"}] * 101
    bare = parse(json.dumps(entries), "x")
    assert len({f.id.lower() for f in bare.features}) == 101
    full = {"features": [{"id": f.id, "description": "b"} for f in bare.features]}
    assert [f.id for f in parse(json.dumps(full), "x").features] == [f.id for f in bare.features]


def test_appending_to_the_bare_form_renames_nothing() -> None:
    entries = [{"category": "a", "description": "b"}] * 120
    few, many = parse(json.dumps(entries[:9]), "x"), parse(json.dumps(entries), "x")
    assert few.features == many.features[:9]


def test_line_numbers_are_those_of_the_wrong_value() -> None:
    text = '{"features": [\n\n{"id": "a",\n"description": "b",\n"steps": ["x",\n""],\n"zz":\n1}]}'
    with pytest.raises(FeatureListError) as caught:
        parse(text, "x")
    assert [p.split(",")[0] for p in caught.value.problems] == ["line 6", "line 8"]


def test_decode_takes_utf8_and_keeps_every_character() -> None:
    assert decode("é\r\n日".encode(), "x") == "é\r\n日"


# ---------------------------------------------------------------------- digest


def test_digest_ignores_passes_and_spelling_and_sees_all_else() -> None:
    first = parse(FULL, "x")
    assert digest(parse(json.dumps(json.loads(FULL)), "y")) == digest(first)
    assert digest(parse(FULL.replace('"passes": true', '"passes": false'), "x")) == digest(first)
    changes = [
        replace(first, project=replace(first.project, test="true")),
        replace(first, defaults=replace(first.defaults, rounds=1)),
        replace(first, features=first.features[:1]),
        replace(first, features=first.features[::-1]),
        replace(first, features=(replace(first.features[0], scope=()), first.features[1])),
    ]
    assert len({digest(c) for c in [first, *changes]}) == 6


# ----------------------------------------------------------------- with_passes


def test_with_passes_replaces_the_value_where_it_stands() -> None:
    want = BARE.replace("false", "true")
    assert with_passes(BARE, {"functional-01": True}) == want
    assert with_passes(want, {"functional-01": False}) == BARE


def test_with_passes_adds_a_missing_key_as_the_key_before_it_is_written() -> None:
    text = '{"features": [\r\n\t{\r\n\t\t"id" : "a",\r\n\t\t"description" : "é"\r\n\t}\r\n]}\r\n'
    assert with_passes(text, {"a": True}) == text.replace('"é"', '"é",\r\n\t\t"passes" : true')
    assert with_passes('{"features": [{"id": "a"}]}', {"a": True}) == (
        '{"features": [{"id": "a","passes": true}]}'
    )
    assert with_passes('{"features":[{"x": 1 , "id":"a" }]}', {"a": True}) == (
        '{"features":[{"x": 1 , "id":"a", "passes":true }]}'
    )


@pytest.mark.parametrize("passes", [{}, {"api": False}, {"nobody": True}, {"load": True}])
def test_with_passes_leaves_the_text_alone_when_it_says_so_already(passes: dict[str, bool]) -> None:
    assert with_passes(FULL, passes) == FULL


def test_with_passes_survives_entries_that_are_none() -> None:
    text = '{"features": [3, {"id": 3}, {"id": "a"}, [], {}]}'
    assert with_passes(text, {"a": True}).count("true") == 1
    assert with_passes("3", {"a": True}) == "3"


def test_with_passes_refuses_what_is_no_json() -> None:
    with pytest.raises(FeatureListError, match="line 1"):
        with_passes("[", {"a": True})


IDS = ["a", "b", "c", "d"]
ENTRIES: Any = st.lists(
    st.fixed_dictionaries(
        {"description": st.text(min_size=1)},
        optional={
            "steps": st.lists(st.text(), max_size=2),
            "passes": st.booleans(),
            "note": st.dictionaries(st.just("passes"), st.booleans()),
        },
    ),
    min_size=4,
    max_size=4,
)


@UNTIMED
@given(
    ENTRIES,
    st.dictionaries(st.sampled_from([*IDS, "zz"]), st.booleans()),
    st.sampled_from([None, 2, "\t"]),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
)
def test_with_passes_changes_nothing_else_and_is_idempotent(
    entries: list[dict[str, object]],
    passes: dict[str, bool],
    indent: int | str | None,
    ascii_only: bool,
    newline: str,
) -> None:
    listed = [{"id": i, **entry} for i, entry in zip(IDS, entries, strict=True)]
    text = json.dumps({"features": listed}, indent=indent, ensure_ascii=ascii_only)
    text = text.replace("\n", newline)

    after = with_passes(text, passes)

    for entry in listed:
        said = passes.get(str(entry["id"]))
        if said or (said is False and "passes" in entry):
            entry["passes"] = said
    assert plain(scan(after)) == {"features": listed}
    assert with_passes(after, passes) == after
    if all(i in passes and "passes" in e for i, e in zip(IDS, entries, strict=True)):
        assert (
            with_passes(after, {e["id"]: e["passes"] for e in json.loads(text)["features"]}) == text
        )
    # All that is new are the words themselves, so without them the two texts are the same.
    assert outside(after) == outside(text)


def outside(text: str) -> str:
    """The text without the `passes` members of its entries."""
    features = scan(text).members[0].value
    kept, at = [], 0
    for entry in features.items:
        for before, member in zip((None, *entry.members), entry.members, strict=False):
            if member.key == "passes" and before is not None:
                kept.append(text[at : before.value.end])
                at = member.value.end
    return "".join([*kept, text[at:]])


# ---------------------------------------------------------------------- schema


def test_published_schema_is_current() -> None:
    assert TARGET.read_text(encoding="utf-8") == rendered(), "run scripts/write_schema.py"


def test_published_tables_of_keys_are_current() -> None:
    assert DOCS.read_text(encoding="utf-8") == documented(), "run scripts/write_schema.py"


def test_schema_describes_both_forms_and_forbids_other_keys() -> None:
    schema = json.loads(rendered())
    assert len(schema["anyOf"]) == 2
    models = schema["$defs"]
    lists = {"BareEntry", "FeatureEntry", "ProjectEntry", "DefaultsEntry", "FullForm"}
    within = {"DeployEntry", "EnvironmentEntry", "SmokeEntry", "ApprovalEntry"}
    assert set(models) == lists | within | {
        "GateEntry",
        "ReportsEntry",
        "SelectionEntry",
        "WeightsEntry",
    }
    assert all(m["additionalProperties"] is False for m in models.values())
    for model in models.values():
        assert all(p.get("description") for p in model["properties"].values())


def test_importing_costs_neither_pydantic_nor_networkx() -> None:
    code = (
        "import sys, orchestrator.features.file, orchestrator.graph, orchestrator.forecast;"
        "print([m for m in ('pydantic', 'networkx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
