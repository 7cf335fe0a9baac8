"""The security scan of a tree, in a real sandbox."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import sandboxes
from harness.deploy import facts
from harness.ports import BaseSpec

pytestmark = pytest.mark.isolation

FILES = {
    "app.py": "import subprocess\n\n\ndef run(x):\n    subprocess.call(x, shell=True)\n",
    "soft.py": "import random\n\nprint(random.random())\n",
    "tests/test_app.py": "import subprocess\n\nsubprocess.call('x', shell=True)\n",
    "key.txt": "-----BEGIN RSA PRIVATE " + "KEY-----\n",
    "sly.py": "eval(input())  # noqa: S307\n",
    "ruff.toml": "exclude = ['*']\n",
}


@pytest.mark.long
async def test_what_is_found_and_how_bad_it_is(
    tmp_path: Path, new_cache: Callable[[Path], Path]
) -> None:
    repo = tmp_path / "repo"
    for name, text in FILES.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(text)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "Begin"]):
        subprocess.run([*git, *words], cwd=repo, check=True)
    done = subprocess.run([*git, "rev-parse", "HEAD"], cwd=repo, check=True, capture_output=True)
    cache = new_cache(tmp_path / "cache")
    provider = sandboxes.provider("local", f"scan-{tmp_path.name}", cache=cache)
    try:
        base = await provider.prepare(BaseSpec(repo, done.stdout.decode().strip()))
        found = await facts.scan(await provider.create(base, "scan"))
    finally:
        await provider.close(remove=True)
    assert found is not None
    levels = {text.split(":")[0]: level for level, text in found}
    assert levels["S602 app.py"] == levels["S307 sly.py"] == "high"
    assert levels["S311 soft.py"] == "medium"
    assert levels["a secret in ./key.txt"] == "critical"
    assert not any("tests/" in text for _, text in found)
