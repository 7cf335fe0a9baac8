"""What the kernel says of a process is read behind its name, whatever that is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import process_stat

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


def test_a_name_with_blanks_and_brackets_hides_nothing() -> None:
    code = "open('/proc/self/comm', 'w').write('a) Z 1 ('); print(flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdout.readline()
        state, parent, *_ = process_stat.fields(child.pid)
        assert (state in "RS", int(parent)) == (True, os.getpid())
        child.stdin.close()
    with pytest.raises(OSError, match=str(child.pid)):
        process_stat.fields(child.pid)
