"""vps_health.snapshot: all probes and alerts as one JSON-ready dict."""

import json


def test_everything_is_well(proc):
    from vps_health.snapshot import take

    snapshot = take(proc.root, now=0)
    assert snapshot["status"] == "ok"
    assert snapshot["alerts"] == []
    assert snapshot["host"] == "web-1"
    assert snapshot["time"] == "1970-01-01T00:00:00Z"
    assert set(snapshot["probes"]) == {"memory", "load", "processes", "disk"}
    assert snapshot["probes"]["memory"]["used_percent"] == 25.0
    assert snapshot["probes"]["load"]["cpus"] == 2
    assert snapshot["probes"]["processes"]["total"] == 1
    assert snapshot["probes"]["disk"]["used_percent"] == 0.0


def test_it_can_be_written_as_json(proc):
    from vps_health.snapshot import take

    snapshot = take(proc.root)
    assert json.loads(json.dumps(snapshot)) == snapshot
    assert snapshot["time"].endswith("Z")


def test_the_worst_alert_is_the_status(proc):
    from vps_health.snapshot import take

    proc.memory(used_percent=85)
    assert take(proc.root)["status"] == "warning"
    proc.memory(used_percent=97)
    snapshot = take(proc.root)
    assert snapshot["status"] == "critical"
    assert [a["metric"] for a in snapshot["alerts"]] == ["memory.used_percent"]


def test_rules_of_your_own(proc):
    from vps_health.snapshot import take
    from vps_health.thresholds import Rule

    rules = [Rule("memory.used_percent", 10, 20), Rule("load.load5", 0.1, 9)]
    snapshot = take(proc.root, rules=rules)
    assert snapshot["status"] == "critical"
    assert [a["level"] for a in snapshot["alerts"]] == ["critical", "warning"]
    assert take(proc.root, rules=[])["status"] == "ok"


def test_a_probe_that_fails_does_not_hide_the_others(proc):
    from vps_health.snapshot import take

    proc.remove("meminfo")
    snapshot = take(proc.root)
    assert "meminfo" in snapshot["probes"]["memory"]["error"]
    assert snapshot["probes"]["load"]["load1"] == 0.5
    assert snapshot["status"] == "warning"


def test_a_failed_probe_does_not_lower_a_critical_status(proc):
    from vps_health.snapshot import take

    proc.memory(used_percent=99)
    proc.remove("loadavg")
    snapshot = take(proc.root)
    assert snapshot["status"] == "critical"
    assert "error" in snapshot["probes"]["load"]


def test_a_machine_without_a_name(proc):
    from vps_health.snapshot import take

    proc.remove("sys/kernel/hostname")
    assert take(proc.root)["host"] == "unknown"


def test_the_real_proc():
    from vps_health.snapshot import take

    assert take()["status"] in {"ok", "warning", "critical"}
