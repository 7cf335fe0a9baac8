"""The command that scores a patch's tests by mutants of its changed lines, and how it is put."""

import base64
import functools
import zlib
from collections.abc import Sequence
from pathlib import Path


@functools.cache
def _program() -> str:
    text = Path(__file__).with_name("inside_mutation.py").read_bytes()
    return base64.b64encode(zlib.compress(text, 9)).decode()


def command(tests: Sequence[str]) -> str:
    """A shell line that prints the share of mutants that `tests` notice, or `none`."""
    line = " && ".join(f"( {test} )" for test in tests)
    packed = base64.b64encode(line.encode()).decode()
    start = "import base64,zlib;exec(zlib.decompress(base64.b64decode('{}')))"
    return f'python -I -c "{start.format(_program())}" {packed}'
