"""project.deploy: every mistake at once, with its place and the remedy."""

import json
from typing import Any

import pytest

from orchestrator.errors import FeatureListError
from orchestrator.features.file import digest, parse

SMOKE = [{"get": "/x"}]
GOOD: dict[str, Any] = {
    "adapter": "process", "command": ["./serve"], "staging": {"smoke": SMOKE},
    "production": {"smoke": SMOKE},
}  # fmt: skip


def read(deploy: Any) -> Any:
    body = {"project": {"deploy": deploy}, "features": [{"id": "a", "description": "b"}]}
    return parse(json.dumps(body, indent=1), "list.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"adapter": "ftp"}, r"project\.deploy, adapter: .*process, command, compose or ssh"),
        ({"adapter": "ssh"}, "staging: the adapter ssh needs `host` and `path`"),
        ({"staging": {"smoke": SMOKE, "host": "-oProxyCommand=x"}}, "a host such as deploy@web1"),
        ({"staging": {"smoke": SMOKE, "path": "srv"}}, "an absolute path on that host"),
        ({"service": "a b"}, "the name of a service"),
        ({"adapter": "command"}, "staging: the adapter command needs `deploy` and `current`"),
        ({"command": []}, "the adapter process needs `command`"),
        ({"port": 0}, r"project\.deploy, port: 0 .* a port"),
        ({"health": "up"}, "a path such as /health"),
        ({"comand": ["x"]}, 'unknown key "comand"; did you mean "?command'),
        ({"staging": {"smoke": []}}, r"project\.deploy\.staging, smoke"),
        ({"staging": {"smoke": [{"status": 200}]}}, "either `get` or `run`"),
        ({"staging": {"smoke": [{"get": "/", "run": "x"}]}}, "either `get` or `run`"),
        ({"staging": {"smoke": [{"get": "/", "status": 9}]}}, r"staging\.smoke\[0\], status: 9"),
        ({"approval": {"at_least": "NEVER"}}, "AUTO, OPTIONAL, REQUIRED or EXPERT"),
        ({"approval": {"experts": ["bob"]}}, '"bob" is no approver'),
        ({"approval": {"expires_hours": 0}}, "hours above 0"),
        ({"approval": {"approvers": ["bob"]}}, "approvers"),
    ],
)
def test_a_mistake_is_told_with_its_place(change: dict[str, Any], words: str) -> None:
    with pytest.raises(FeatureListError, match=words):
        read({**GOOD, **change})


def test_missing_keys_are_told_together() -> None:
    with pytest.raises(FeatureListError) as caught:
        read({"staging": {}})
    told = " ".join(caught.value.problems)
    assert all(f'"{key}" is missing' in told for key in ("adapter", "production", "smoke"))


def test_how_it_is_deployed_is_no_part_of_what_is_built() -> None:
    assert digest(read(GOOD)) == digest(read(None))
