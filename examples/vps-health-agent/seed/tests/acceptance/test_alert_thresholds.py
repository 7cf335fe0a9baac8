"""vps_health.thresholds: rules, and which of them a reading breaks."""

import pytest

PROBES = {"memory": {"used_percent": 90.0, "free_mb": 50}, "disk": {"used_percent": 99.0}}


def alerts(*rules, probes=PROBES):
    from vps_health.thresholds import Rule, evaluate

    return evaluate(probes, [Rule(*rule) for rule in rules])


def test_nothing_to_report():
    assert alerts(("memory.used_percent", 91, 95)) == []


def test_a_warning():
    assert alerts(("memory.used_percent", 80, 95)) == [
        {"metric": "memory.used_percent", "level": "warning", "value": 90.0, "limit": 80}
    ]


def test_critical_replaces_the_warning():
    assert alerts(("disk.used_percent", 85, 95)) == [
        {"metric": "disk.used_percent", "level": "critical", "value": 99.0, "limit": 95}
    ]


def test_reaching_a_limit_counts():
    assert [a["level"] for a in alerts(("memory.used_percent", 90, 95))] == ["warning"]
    assert [a["level"] for a in alerts(("memory.used_percent", 80, 90))] == ["critical"]


def test_a_critical_limit_below_the_warning_watches_for_falling_values():
    assert alerts(("memory.free_mb", 100, 10)) == [
        {"metric": "memory.free_mb", "level": "warning", "value": 50, "limit": 100}
    ]
    assert [a["level"] for a in alerts(("memory.free_mb", 200, 50))] == ["critical"]
    assert alerts(("memory.free_mb", 40, 10)) == []


def test_critical_comes_first_then_by_name():
    found = alerts(
        ("memory.used_percent", 80, 95), ("memory.free_mb", 60, 10), ("disk.used_percent", 85, 95)
    )
    assert [a["metric"] for a in found] == [
        "disk.used_percent",
        "memory.free_mb",
        "memory.used_percent",
    ]


@pytest.mark.parametrize(
    "probes", [{}, {"memory": {}}, {"memory": {"error": "no"}}, {"memory": {"used_percent": "?"}}]
)
def test_what_was_not_measured_raises_no_alert(probes):
    assert alerts(("memory.used_percent", 80, 95), probes=probes) == []


def test_default_rules_cover_every_probe():
    from vps_health.thresholds import DEFAULT_RULES

    assert {rule.metric for rule in DEFAULT_RULES} == {
        "memory.used_percent",
        "memory.swap_used_percent",
        "load.load1_per_cpu",
        "disk.used_percent",
        "processes.zombies",
    }
    assert all(rule.warning < rule.critical for rule in DEFAULT_RULES)


def test_rules_from_a_file(tmp_path):
    from vps_health.thresholds import Rule, load_rules

    path = tmp_path / "rules.toml"
    path.write_text('[rules]\n"disk.used_percent" = {warning = 70, critical = 90.5}\n')
    assert list(load_rules(path)) == [Rule("disk.used_percent", 70, 90.5)]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("not toml", "rules.toml"),
        ("", "rules"),
        ('[rules]\n"disk.used_percent" = {warning = 70}\n', "critical"),
        ('[rules]\n"disk.used_percent" = {warning = "x", critical = 9}\n', "disk.used_percent"),
        ('[rules]\n"disk.used_percent" = {warning = 5, critical = 5}\n', "disk.used_percent"),
        ("[rules]\ndisk = {warning = 5, critical = 6}\n", "disk"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path, text, word):
    from vps_health.thresholds import RuleError, load_rules

    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(RuleError, match=word):
        load_rules(path)


def test_a_missing_file(tmp_path):
    from vps_health.thresholds import RuleError, load_rules

    with pytest.raises(RuleError, match="absent.toml"):
        load_rules(tmp_path / "absent.toml")
