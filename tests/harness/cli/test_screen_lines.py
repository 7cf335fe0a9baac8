"""One event, one line: what is away is not called busy."""

import io

import pytest

from harness.cli.screen import Screen
from orchestrator import events as e


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            "ModelUnreachableError: api.example: Name or service not known",
            "model unreachable (api.example: Name or service not known), again in 8s",
        ),
        ("ModelOverloadedError: 529", "model busy (ModelOverloadedError: 529), again in 8s"),
    ],
)
def test_a_model_that_is_not_reached_is_not_called_busy(error: str, said: str) -> None:
    stream = io.StringIO()
    with Screen(stream, "plain") as screen:
        screen(e.ModelRetried(feature="load", attempt="r1-a01", error=error, wait=8.0))
    assert stream.getvalue().rstrip().endswith(said)
