"""What a server can do to the HTTP client; of redirects and compression: `conformance`."""

import httpx2
import pytest

from harness.models import guarded_http
from orchestrator import errors as e
from tests.emulators.messages_api import MessagesServer

ASKED = {"model": "m", "max_tokens": 9, "messages": []}


@pytest.mark.parametrize("words", [100, 9_000])
async def test_an_answer_may_be_only_so_long(words):
    said = [{"type": "text", "text": "x" * words}]
    async with (
        MessagesServer(lambda _: said) as server,
        httpx2.AsyncClient(**guarded_http.settings("IT", most_bytes=5_000)) as client,
    ):
        asking = client.post(f"{server.url}/v1/messages", json=ASKED)
        if words < 5_000:
            assert "message_stop" in (await asking).text
        else:
            with pytest.raises(e.ModelMalformedError, match="longer than any reply"):
                await asking
        assert server.headers[0]["accept-encoding"] == "identity"
