"""The real `sshd` of OpenSSH on loopback, for one test, as whoever runs it."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path

#: It is not on a plain user's PATH; nothing installs it for the tests.
PROGRAM = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
_SECONDS = 20.0


class OpenSshServer:
    """A context manager; `host` and `config` are what the real `ssh` needs to come in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"ssh://{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1:{self.port}"

    def __enter__(self) -> "OpenSshServer":
        assert PROGRAM is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:  # where it parts with its privileges; systems make it at their start
            Path("/run/sshd").mkdir(exist_ok=True)
        for name in ("identity", "own"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
            subprocess.run(words, check=True, timeout=20)
        allowed = self.folder / "authorized"
        allowed.write_bytes((self.folder / "identity.pub").read_bytes())
        own = (self.folder / "own.pub").read_text("utf-8").strip()
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.port} {own}\n", encoding="utf-8")
        (self.folder / "config").write_text(
            f"Host *\n  IdentityFile {self.folder / 'identity'}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.folder / 'known'}\n  StrictHostKeyChecking yes\n",
            encoding="utf-8",
        )
        (self.folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder / 'own'}\n"
            f"AuthorizedKeysFile {allowed}\nStrictModes no\nUsePAM no\nPidFile none\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin prohibit-password\n",
            encoding="utf-8",
        )
        with (self.folder / "sshd.log").open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "-D", "-e", "-f", str(self.folder / "sshd_config")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._wait()
        return self

    def _wait(self) -> None:
        end = time.monotonic() + _SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert self._process is not None
                gone = self._process.poll() is not None or time.monotonic() > end
                assert not gone, (self.folder / "sshd.log").read_text("utf-8", "replace")
                time.sleep(0.02)
            else:
                return

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
