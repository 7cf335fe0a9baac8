"""python -m vps_health: a report or JSON, and an exit code that means something."""

import json
import subprocess
import sys


def run(capsys, *args):
    from vps_health.cli import main

    code = main([str(a) for a in args])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_json(proc, capsys):
    code, out, _ = run(capsys, "--json", "--proc", proc.root)
    snapshot = json.loads(out)
    assert code == 0
    assert snapshot["status"] == "ok"
    assert snapshot["host"] == "web-1"


def test_the_exit_code_is_the_status(proc, capsys):
    assert run(capsys, "--proc", proc.root)[0] == 0
    proc.memory(used_percent=85)
    assert run(capsys, "--proc", proc.root)[0] == 1
    proc.memory(used_percent=99)
    assert run(capsys, "--json", "--proc", proc.root)[0] == 2


def test_the_report_is_for_people(proc, capsys):
    _, out, _ = run(capsys, "--proc", proc.root)
    first, *rest = out.splitlines()
    assert first.startswith("OK web-1 ")
    assert any("memory" in line and "25.0%" in line and "1.9 GiB" in line for line in rest)
    assert any("load" in line and "0.50 0.40 0.30" in line for line in rest)
    assert any("processes" in line and "1" in line for line in rest)
    assert any("disk" in line for line in rest)


def test_alerts_are_in_the_report(proc, capsys):
    proc.memory(used_percent=99)
    _, out, _ = run(capsys, "--proc", proc.root)
    assert out.startswith("CRITICAL ")
    assert any("memory.used_percent" in line and "99.0" in line for line in out.splitlines())


def test_a_failed_probe_is_in_the_report(proc, capsys):
    proc.remove("meminfo")
    code, out, _ = run(capsys, "--proc", proc.root)
    assert code == 1
    assert any("memory" in line and "meminfo" in line for line in out.splitlines())


def test_rules_of_your_own(proc, capsys, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text('[rules]\n"memory.used_percent" = {warning = 5, critical = 10}\n')
    assert run(capsys, "--proc", proc.root, "--rules", rules)[0] == 2


def test_bad_rules_are_code_3_and_a_message(proc, capsys, tmp_path):
    code, out, err = run(capsys, "--proc", proc.root, "--rules", tmp_path / "absent.toml")
    assert code == 3
    assert out == ""
    assert "absent.toml" in err


def test_sizes_for_people():
    from vps_health.report import size

    assert [size(n) for n in (0, 1023, 1024, 1536, 5 * 2**20, 3 * 2**30, 2**41)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 KiB",
        "5.0 MiB",
        "3.0 GiB",
        "2.0 TiB",
    ]


def test_as_a_module(proc):
    command = [sys.executable, "-m", "vps_health", "--json", "--proc", str(proc.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "ok"
