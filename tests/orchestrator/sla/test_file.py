"""data_layer_slas.yaml in both forms: what it means, and every mistake at once with its line."""

import json
import re
import textwrap
from pathlib import Path

import pytest

from orchestrator.errors import InputError, SlaFileError
from orchestrator.sla.file import parse
from orchestrator.sla.values import DAY, Gates, Window
from scripts.write_schema import SLAS, slas_rendered

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "data_layer_slas.yaml"

ROADMAP = """\
slas:
  # Database Synchronization
  neon_to_convex_max_delay: 300  # 5 minutes (seconds)
  convex_query_max_latency: 2
  vlm_image_max_age: 600
  vlm_processing_max_time: 30
  qfield_sync_interval: 180
  qfield_webhook_max_delay: 10
  wa_message_max_delay: 60
  wa_image_upload_max_time: 30

metrics:
  neon_sync_delay: neon_to_convex_max_delay
  vlm_image_age: vlm_image_max_age

alerts:
  - condition: neon_sync_delay > 300
    action: slack_webhook
    channel: "#fibreflow-alerts"
    severity: warning
    message: "⚠️ Neon→Convex sync delayed: {delay}s (SLA: 300s)"

  - condition: vlm_image_age > 600
    action: slack_webhook
    severity: error
    message: "🚨 VLM processing stale images: {age}s old (SLA: 600s)"

  - condition: qfield_sync_interval > 180
    action: slack_webhook
    severity: warning
    message: "⚠️ QField sync interval exceeded: {interval}s (SLA: 180s)"

monitoring:
  check_interval: 60
  retention_days: 30
  dashboard_port: 8888
"""

FULL = """\
version: 1
slas:
  db:
    probe: {type: tcp, host: db.example.com, port: 5432}
    error: 3
    severity: critical
  lag:
    probe:
      type: postgres_lag
      source: {dsn_env: NEON, table: reports, column: updated_at}
      target: {url: "https://x.example.com/q", json_path: value.at}
    warn: 3m
    error: 300
    objective: 99.5
    window: 7d
    for: 2m
    interval: 30s
    timeout: 5
    no_data: excluded
    gates: {agents: [vlm-*], features: [report-*], scope: ["reports/**"], promotion: true}
    maintenance: [{cron: "0 2 * * 0", duration: 30m, time_zone: Europe/Berlin}]
    depends_on: [db]
    owner: data team
    runbook: docs/runbooks/lag.md
notify:
  default: [slack, log]
  slack: {channel: "#x"}
monitoring: {cooldown: 10m, repeat: 1h}
"""


def problems(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(SlaFileError) as caught:
        parse(text if isinstance(text, bytes) else text.encode(), "slas.yaml")
    return caught.value.problems


# ---------------------------------------------------------------------------- what is read


def test_the_roadmaps_form() -> None:
    file = parse(ROADMAP.encode(), "slas.yaml")
    assert len(file.slas) == 8
    delay = file.slas["neon_to_convex_max_delay"]
    assert (delay.error, delay.probe, delay.objective, delay.window) == (300, None, 0.95, 30 * DAY)
    assert [rule.slas for rule in file.rules] == [
        ("neon_to_convex_max_delay",),
        ("vlm_image_max_age",),
        ("qfield_sync_interval",),
    ]
    assert file.rules[0].routes[0].name == "slack_webhook:#fibreflow-alerts"
    assert (file.monitoring.interval, file.monitoring.page_port) == (60, 8888)
    assert file.monitoring.health_port == 8889


def test_the_full_form() -> None:
    file = parse(FULL.encode(), "slas.yaml")
    lag = file.slas["lag"]
    assert (lag.warn, lag.error, lag.objective, lag.window) == (180, 300, 0.995, 7 * DAY)
    assert (lag.hold_for, lag.interval, lag.timeout) == (120, 30, 5)
    assert lag.gates == Gates(
        agents=("vlm-*",), features=("report-*",), scope=("reports/**",), promotion=True
    )
    assert lag.maintenance == (Window("0 2 * * 0", 1800, "Europe/Berlin"),)
    assert (lag.owner, lag.runbook, lag.no_data) == (
        "data team",
        "docs/runbooks/lag.md",
        "excluded",
    )
    assert file.slas["db"].interval == 60


def test_rules_that_come_of_themselves() -> None:
    """Two levels and missing data for each SLA that has a probe; the worse silences the milder."""
    rules = {rule.key: rule for rule in parse(FULL.encode(), "slas.yaml").rules}
    over = ("db/error", "db/no_data")
    assert set(rules) == {"db/error", "db/no_data", "lag/error", "lag/warn", "lag/no_data"}
    assert rules["lag/error"].inhibited_by == over
    assert rules["lag/warn"].inhibited_by == (*over, "lag/error")
    assert [rules[k].severity for k in ("db/error", "lag/error", "lag/warn")] == [
        "critical",
        "error",
        "warning",
    ]
    assert {r.pending for k, r in rules.items() if k.startswith("lag")} == {120}
    assert {r.cooldown for r in rules.values()} == {600}
    assert [r.name for r in rules["lag/error"].routes] == ["slack", "log"]


def test_an_alert_of_the_file_speaks_for_its_sla() -> None:
    text = FULL + "alerts: [{condition: lag > 300, action: log, for: 1m}]\n"
    rules = {rule.key: rule for rule in parse(text.encode(), "slas.yaml").rules}
    assert rules["alert-1/lag"].pending == 60
    assert rules["lag/error"].routes == ()  # watched, for those that depend on it
    assert "lag/warn" not in rules


def test_the_shipped_file_is_read_and_gates_the_demo() -> None:
    file = parse(SHIPPED.read_bytes(), "data_layer_slas.yaml")
    (sla,) = file.slas.values()
    assert sla.gates.runs
    assert sla.no_data == "good"  # a fresh clone has no such file
    # and nobody is told of what was declared to be good
    assert [rule.key.partition("/")[2] for rule in file.rules] == ["error", "warn"]


def test_the_commented_example_has_the_twelve_and_is_read() -> None:
    _, _, example = SHIPPED.read_text("utf-8").partition("# slas:\n")
    lines = [
        line.removeprefix("#").removeprefix(" ") for line in ("# slas:\n" + example).splitlines()
    ]
    file = parse("\n".join(lines).encode(), "example")
    assert len(file.slas) == 12
    assert all(sla.probe is not None for sla in file.slas.values())
    assert {rule.condition for rule in file.rules if rule.condition} == {
        "neon_sync_delay > 300",
        "vlm_image_age > 600",
        "qfield_sync_interval > 180",
    }


def test_the_published_schema_is_up_to_date() -> None:
    assert SLAS.read_text("utf-8") == slas_rendered(), "run scripts/write_schema.py"
    assert json.loads(slas_rendered())["title"].startswith("data_layer_slas.yaml")


# ------------------------------------------------------------------------------- mistakes

PROBE = "    probe: {type: file_age, path: x}\n"

MISTAKES = [
    ("", "line 1", "nothing in it"),
    ("- a\n", "line 1", "no object"),
    ("slas: {}\n", "line 1, slas", "must be an object"),
    ("alerts: []\n", "line 1", "the key slas is missing"),
    ("slas: {a: 1}\nslas: {b: 1}\n", "line 2", "written twice"),
    ("slas:\n  a: 1\n  a: 2\n", "line 3", "written twice"),
    ("slas:\n  a: fast\n", "line 2, slas.a", "no duration"),
    ("slas:\n  a: -1\n", "line 2, slas.a", "must be"),
    ("slas:\n  a: .nan\n", "line 2, slas.a", "must be"),
    ("slas:\n  a: .inf\n", "line 2, slas.a", "must be"),
    ("slas:\n  a: true\n", "line 2, slas.a", "true is not right"),
    ("slas:\n  a: [1]\n", "line 2, slas.a", "a list is not right"),
    ("slas:\n  a-b: 1\n", "line 2, slas.a-b", "no usable name"),
    ("slas:\n  and: 1\n", "line 2, slas.and", "no usable name"),
    ("slas:\n  a:\n" + PROBE, "line 2, slas.a", "the key error is missing"),
    ("slas:\n  a:\n    error: 1\n    warm: 1\n", "line 4, slas.a", 'did you mean "warn"?'),
    ("slas:\n  a:\n    error: 1\n    warn: 2\n", "line 4, slas.a.warn", "swap"),
    (
        "slas:\n  a:\n    error: 2\n    breach: below\n    warn: 1\n",
        "line 5, slas.a.warn",
        "swap",
    ),
    ("slas:\n  a:\n    error: 1\n    objective: 100\n", "line 4", "below 100"),
    ("slas:\n  a:\n    error: 1\n    severity: bad\n", "line 4", "info, warning"),
    ("slas:\n  a:\n    error: 1\n    window: 90d\n", "line 4", "raise monitoring.retention_days"),
    ("slas:\n  a:\n    error: 1\n    gates: {runs: true}\n", "line 4", "add a probe"),
    ("slas:\n  a:\n    error: 1\n    probe: {typ: tcp}\n", "line 4", "no type"),
    ("slas:\n  a:\n    error: 1\n    probe: {type: tpc}\n", "line 4", 'did you mean "tcp"?'),
    ("slas:\n  a:\n    error: 1\n    probe: tcp\n", "line 4", "probe"),
    ("slas:\n  a:\n    error: 1\n    probe: {type: tcp, host: x}\n", "line 4", "port is missing"),
    (
        "slas:\n  a:\n    error: 1\n    probe: {type: skill, json_path: x}\n",
        "line 4, slas.a.probe",
        "the key skill is missing",
    ),
    (
        "slas:\n  a:\n    error: 1\n    probe: {type: http, url: ftp://x}\n",
        "line 4, slas.a.probe.url",
        "http://",
    ),
    (
        'slas:\n  a:\n    error: 1\n    probe: {type: http, url: "http://x", measure: age}\n',
        "line 4",
        "json_path",
    ),
    (
        "slas:\n  a:\n    error: 1\n    probe: {type: postgres_query, dsn_env: a b, query: x}\n",
        "line 4, slas.a.probe.dsn_env",
        "never stands in this file",
    ),
    (
        "slas:\n  a:\n    error: 1\n    maintenance: [{cron: daily, duration: 1h}]\n",
        "line 4, slas.a.maintenance[0].cron",
        "five fields",
    ),
    (
        "slas:\n  a:\n    error: 1\n"
        '    maintenance: [{cron: "* * * * *", duration: 1h, time_zone: X}]\n',
        "line 4, slas.a.maintenance[0].time_zone",
        "no time zone",
    ),
    ("slas:\n  aaa:\n    error: 1\n    depends_on: [aab]\n", "line 4", 'did you mean "aaa"?'),
    ("slas:\n  a:\n    error: 1\n    depends_on: [a]\n", "line 3", "depends on itself"),
    ("slas: {abc: 1}\nmetrics: {x: abd}\n", "line 2, metrics.x", 'did you mean "abc"?'),
    ("slas: {abc: 1}\nmetrics: {abc: abc}\n", "line 2, metrics.abc", "already"),
    ("slas: {abc: 1}\nalerts: [{condition: abd > 1}]\n", "line 2", 'did you mean "abc"?'),
    ("slas: {a: 1}\nalerts: [{condition: 3}]\n", "line 2, alerts[0].condition", "comparison"),
    ("slas: {a: 1}\nalerts: [{action: log}]\n", "line 2", "condition is missing"),
    ("slas: {a: 1}\nalerts: [{condition: a > 1, action: page}]\n", "line 2", "slack_webhook"),
    ("slas: {a: 1}\nalerts: [{condition: a > 1, action: email}]\n", "line 2", "add notify.email"),
    ("slas: {a: 1}\nalerts: [{condition: a > 1, action: slack}]\n", "line 2", "add channel"),
    (
        'slas: {a: 1}\nalerts: [{condition: a > 1, message: "{value.real}"}]\n',
        "line 2, alerts[0].message",
        "cannot be filled in",
    ),
    (
        'slas: {a: 1}\nalerts: [{condition: a > 1, message: "{value!r:>9}"}]\n',
        "line 2, alerts[0].message",
        "cannot be filled in",
    ),
    ('slas: {a: 1}\nalerts: [{condition: a > 1, message: "{"}]\n', "line 2", "brace"),
    ("slas: {a: 1}\nmonitoring: {chek_interval: 1}\n", "line 2", 'did you mean "check_interval"?'),
    ("slas: {a: 1}\nmonitoring: {dashboard_port: 70000}\n", "line 2", "65535"),
    ("slas: {a: 1}\nmonitoring: {group_wait: 60}\n", "line 2", "0 to 10"),
    ("slas: {a: 1}\nextra: 1\n", "line 2", "unknown key"),
    ("version: 2\nslas: {a: 1}\n", "line 1, version", "only version"),
    # What YAML would let through.
    ("slas: &x {a: 1}\nmetrics: *x\n", "line 1", "anchors"),
    ("slas:\n  <<: {a: 1}\n", "line 2", "merge"),
    ("slas: {a: !!python/object/apply:os.system [id]}\n", "line 1", "mend the YAML|tag|list"),
    ("slas: {a: !!python/name:os.system ''}\n", "line 1", "tag"),
    ("slas: {a: 1}\n---\nslas: {b: 1}\n", "line 2", "mend the YAML"),
    ("slas: {a: 1\n", "line", "mend the YAML"),
    ("slas:\n\ta: 1\n", "line 2", "mend the YAML"),
    ("slas: {a: \0}\n", "line 1", "remove it"),
    ("slas: " + "[" * 200 + "]" * 200, "line 1", "levels"),
    ("slas: {[a, b]: 1}\n", "line 1", "plain word"),
    (b"slas: {a: \xff}\n", "line 1", "UTF-8"),
]


@pytest.mark.parametrize(("text", "where", "what"), MISTAKES)
def test_a_mistake_is_told_with_its_place_and_the_remedy(
    text: str | bytes, where: str, what: str
) -> None:
    found = problems(text)
    assert any(
        line.startswith(where) and any(word in line for word in what.split("|")) for line in found
    ), found


def test_all_mistakes_at_once_in_the_order_of_the_text() -> None:
    text = "slas:\n  a: x\n  b: {error: 1, probe: {type: tcp}}\nalerts:\n  - condition: c > 1\n"
    lines = [int(p.split(",")[0].removeprefix("line ").split(":")[0]) for p in problems(text)]
    assert lines == sorted(lines)
    assert set(lines) == {2, 3, 5}


def test_the_error_is_the_users_and_names_the_file() -> None:
    with pytest.raises(InputError, match=r"slas\.yaml: 1 problem\n  line 1"):
        parse(b"slas: {a: x}\n", "slas.yaml")


def test_a_date_is_not_made_of_a_word_that_looks_like_one() -> None:
    file = parse(b"slas: {a: {error: 1, owner: 2026-11-21}}\n", "slas.yaml")
    assert file.slas["a"].owner == "2026-11-21"


def test_what_the_document_shows_is_read() -> None:
    document = ROOT / "docs" / "slas.md"
    blocks = re.findall(r"(?:^    .*\n|^\n)+", document.read_text(encoding="utf-8"), re.MULTILINE)
    keys = ("    slas:", "    metrics:", "    notify:", "    monitoring:")
    shown = [textwrap.dedent(b).strip("\n") for b in blocks if b.strip("\n").startswith(keys)]
    assert len(shown) == 4
    text = "\n".join(shown).replace("replica_lag", "reports_max_age").replace("[db_up]", "[]")
    file = parse(text.encode(), "docs/slas.md")
    assert file.slas["reports_max_age"].gates.promotion
    assert file.monitoring.store_env == "SLA_STORE"
