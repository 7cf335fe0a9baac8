"""python -m vps_health serve: the whole service as a process of its own."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest


@contextmanager
def service(proc, *args):
    command = [sys.executable, "-m", "vps_health", "serve", "--port", "0"]
    command += ["--proc", str(proc.root), *map(str, args)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", line)
        assert found, line or process.stderr.read()
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate(timeout=10)


def health(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_the_machine_is_seen_as_it_changes_and_sigterm_ends_it(proc):
    with service(proc) as (process, port):
        assert health(port)[0] == 200
        proc.memory(used_percent=99)
        code, snapshot = health(port)
        assert (code, snapshot["status"], snapshot["host"]) == (503, "critical", "web-1")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        assert "Traceback" not in process.stderr.read()


def test_rules_of_your_own_and_ctrl_c(proc, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text('[rules]\n"memory.used_percent" = {warning = 5, critical = 10}\n')
    with service(proc, "--rules", rules) as (process, port):
        assert health(port)[0] == 503
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
        assert "Traceback" not in process.stderr.read()


def test_bad_rules_are_refused_before_listening(proc, tmp_path, capsys):
    from vps_health.service import main

    code = main(["--port", "0", "--proc", str(proc.root), "--rules", str(tmp_path / "absent.toml")])
    captured = capsys.readouterr()
    assert code == 3
    assert captured.out == ""
    assert "absent.toml" in captured.err


def test_a_port_in_use_is_code_3_and_a_message(proc, capsys):
    from vps_health.service import main

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code = main(["--port", str(port), "--proc", str(proc.root)])
    assert code == 3
    assert str(port) in capsys.readouterr().err


@pytest.mark.parametrize("args", [["--json"], []])
def test_the_command_line_still_reports(proc, args):
    command = [sys.executable, "-m", "vps_health", *args, "--proc", str(proc.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
