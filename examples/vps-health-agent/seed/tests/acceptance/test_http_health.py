"""vps_health.server: /health as JSON over HTTP."""

import http.client
import json
import threading
from contextlib import contextmanager

import pytest


@contextmanager
def serving(take):
    from vps_health.server import make_server

    server = make_server("127.0.0.1", 0, take)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(timeout=10)
        server.server_close()


def ask(port, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.getheaders(), response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(("status", "code"), [("ok", 200), ("warning", 200), ("critical", 503)])
def test_health(status, code):
    with serving(lambda: {"status": status, "alerts": []}) as port:
        got, headers, body = ask(port, "/health")
    assert got == code
    assert json.loads(body) == {"status": status, "alerts": []}
    fields = {name.lower(): value for name, value in headers}
    assert fields["content-type"] == "application/json"
    assert fields["content-length"] == str(len(body))
    assert fields["cache-control"] == "no-store"


def test_every_request_takes_a_new_snapshot():
    numbers = iter(range(10))
    with serving(lambda: {"status": "ok", "n": next(numbers)}) as port:
        seen = [json.loads(ask(port, "/health?x=1")[2])["n"] for _ in range(3)]
    assert seen == [0, 1, 2]


def test_live_does_not_look_at_the_machine():
    def take():
        raise AssertionError("not to be called")

    with serving(take) as port:
        code, _, body = ask(port, "/live")
    assert code == 200
    assert json.loads(body) == {"status": "alive"}


def test_other_paths_are_404_in_json():
    with serving(lambda: {"status": "ok"}) as port:
        code, _, body = ask(port, "/nothing")
    assert code == 404
    assert "/nothing" in json.loads(body)["error"]


def test_only_get():
    with serving(lambda: {"status": "ok"}) as port:
        code, _, body = ask(port, "/health", method="POST")
    assert code == 405
    assert "error" in json.loads(body)


def test_a_failure_is_500_and_the_server_lives_on(capfd):
    answers = iter([RuntimeError("secret detail"), {"status": "ok"}])

    def take():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with serving(take) as port:
        code, _, body = ask(port, "/health")
        assert code == 500
        assert "error" in json.loads(body)
        assert b"secret detail" not in body
        assert ask(port, "/health")[0] == 200
    assert '"GET ' not in capfd.readouterr().err  # no access log


def test_a_slow_request_does_not_hold_up_others():
    release = threading.Event()

    def take():
        assert release.wait(10)
        return {"status": "ok"}

    with serving(take) as port:
        codes = []
        slow = threading.Thread(target=lambda: codes.append(ask(port, "/health")[0]))
        slow.start()
        assert ask(port, "/live")[0] == 200
        release.set()
        slow.join(timeout=10)
    assert codes == [200]
