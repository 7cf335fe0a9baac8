"""What setup may reach besides the internet: the indexes this machine is configured for."""

import asyncio
import os
from pathlib import Path

import pytest

from harness.ports import BaseSpec, Connection
from harness.sandboxes.local import LocalSandboxProvider

pytestmark = pytest.mark.isolation


async def index(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A package index without any package."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 404 Not Found\r\n\r\n")
    await writer.drain()
    writer.close()


@pytest.mark.long
async def test_a_configured_index_on_loopback_is_asked(
    tmp_path: Path, cache: Path, repo: Path
) -> None:
    seen: list[Connection] = []
    provider = LocalSandboxProvider("index", tmp_path / "state", cache, seen.append)
    server = await asyncio.start_server(index, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kept = os.environ.get("PIP_INDEX_URL")
    os.environ["PIP_INDEX_URL"] = f"http://127.0.0.1:{port}/simple"
    try:
        setup = f"pip install --no-cache-dir nonesuch-{port} 2>said; true"
        made = await provider.prepare(BaseSpec(repo, "HEAD", setup))
        said = await (await provider.create(made, "a")).download("said")
    finally:
        if kept is None:
            del os.environ["PIP_INDEX_URL"]
        else:
            os.environ["PIP_INDEX_URL"] = kept
        server.close()
        await provider.close(remove=True)
    assert b"No matching distribution" in said
    assert Connection("setup", "127.0.0.1", port, True) in seen


@pytest.mark.long
async def test_setup_cannot_change_what_verification_runs(
    tmp_path: Path, cache: Path, repo: Path
) -> None:
    provider = LocalSandboxProvider("tools", tmp_path / "state", cache)
    try:
        setup = (
            'site=$(python -c "import pytest; print(pytest.__path__[0])"); '
            'echo "raise SystemExit(0)" > $site/__init__.py && '
            "printf '#!/bin/sh\\nexit 0\\n' > $VIRTUAL_ENV/bin/pytest && "
            "touch $site/../added.py"
        )
        made = await provider.prepare(BaseSpec(repo, "HEAD", setup))
        box = await provider.create(made, "a")
        for line in ("pytest --version", "python -m pytest --version"):
            assert "pytest" in (await box.exec(line)).text
        assert (await box.exec("python -c 'import added'")).ok
    finally:
        await provider.close(remove=True)
