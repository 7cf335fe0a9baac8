"""A real SSH server on loopback, which runs what it is asked in a folder of the test's own."""

import asyncio
import threading
from pathlib import Path
from typing import Any


class SshServer:
    """A context manager; `host` and `config` are what the real `ssh` needs to come in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: list[str] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: Any = None

    @property
    def host(self) -> str:
        return f"ssh://tester@127.0.0.1:{self.port}"

    def __enter__(self) -> "SshServer":
        import asyncssh

        self._thread.start()
        key = asyncssh.generate_private_key("ssh-ed25519")
        own = asyncssh.generate_private_key("ssh-ed25519")
        self.folder.mkdir(parents=True, exist_ok=True)
        identity = self.folder / "identity"
        identity.write_bytes(key.export_private_key())
        identity.chmod(0o600)
        allowed = self.folder / "authorized"
        allowed.write_bytes(key.export_public_key())
        listening = asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[own], authorized_client_keys=str(allowed),
            process_factory=self._run, encoding=None,
        )  # fmt: skip

        async def start() -> Any:
            return await listening

        self._server = asyncio.run_coroutine_threadsafe(start(), self._loop).result(30)
        self.port = self._server.get_port()
        known = own.export_public_key().decode().strip()
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.port} {known}\n")
        (self.folder / "config").write_text(
            f"Host *\n  IdentityFile {identity}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.folder / 'known'}\n  StrictHostKeyChecking yes\n"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _run(self, process: Any) -> None:
        """As sshd does: by a shell."""
        self.ran.append(process.command)
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", process.command, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await child.communicate(await process.stdin.read())
        process.stdout.write(out)
        process.stderr.write(err)
        process.exit(child.returncode)
