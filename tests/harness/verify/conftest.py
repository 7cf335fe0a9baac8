"""A small Python repository, bases of it, and patches written as plain edits."""

import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from harness.exam_texts import exam_texts
from harness.git import Repository
from harness.ports import Base, BaseSpec
from harness.sandboxes.local import LocalSandboxProvider
from harness.verify.measuring import Measuring
from harness.verify.run import VerifyJob, verify
from orchestrator.errors import SandboxUnavailableError
from orchestrator.values import Feature, FeatureList, Project, Verification
from orchestrator.verify.acceptance import protected_globs

ACCEPTANCE = "python -m pytest -q tests/test_total.py"
FILES = {
    "shop/__init__.py": "",
    "shop/price.py": "def net(gross):\n    return gross * 100 // 119\n",
    "tests/test_price.py": (
        "from shop.price import net\n\n\n"
        "def test_net():\n    assert net(119) == 100\n\n\n"
        "def test_nothing():\n    assert net(0) == 0\n"
    ),
    "tests/test_total.py": (
        "import pytest\n\nfrom shop.total import total\n\n\n"
        "@pytest.mark.parametrize('many', [1, 2, 3])\n"
        "def test_sum(many):\n    assert total([5] * many) == 5 * many\n\n\n"
        "def test_empty():\n    assert total([]) == 0\n\n\n"
        "class TestBad:\n    def test_text(self):\n"
        "        with pytest.raises(TypeError):\n            total(['a'])\n"
    ),
}
RIGHT = """def total(prices):
    result = 0
    for price in prices:
        result += price
    return result
"""
WRONG = "def total(prices):\n    return 0\n"

Edits = dict[str, str | bytes | None]


def git(folder: Path, *args: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    done = subprocess.run(["git", *identity, *args], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode("utf-8", "replace")


def make_repo(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    write(folder, dict(files))
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    return folder


def write(folder: Path, edits: Edits) -> None:
    for name, content in edits.items():
        path = folder / name
        if content is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def diff(repo: Path, edits: Edits) -> bytes:
    """The patch that makes `edits` to the repository, whose files stay as they were."""
    write(repo, edits)
    try:
        git(repo, "add", "-A", "-f")
        return subprocess.run(
            ["git", "diff", "--cached", "--binary", "--full-index", "--no-renames", "HEAD"],
            cwd=repo, check=True, capture_output=True,
        ).stdout  # fmt: skip
    finally:
        git(repo, "reset", "-q", "--hard")


class Field:
    """Where a test makes repositories and has patches judged."""

    def __init__(self, provider: LocalSandboxProvider, folder: Path) -> None:
        self.provider = provider
        self.folder = folder
        self.repo = folder / "repo"
        self.feature = Feature(
            id="total", description="Sum prices.", acceptance=(ACCEPTANCE,), scope=("shop/**",)
        )
        self.project = Project()
        self.timeout = 60.0
        self.log = ""
        self.measuring: Measuring | None = None  # most tests are not about quality

    def start(self, files: dict[str, str] | None = None) -> None:
        make_repo(self.repo, FILES if files is None else files)

    async def base(self) -> Base:
        if not self.repo.exists():
            self.start()
        commit = git(self.repo, "rev-parse", "HEAD").strip()
        return await self.provider.prepare(BaseSpec(self.repo, commit))

    async def judge(self, edits: Edits) -> Verification:
        base = await self.base()
        return await self.judge_patch(diff(self.repo, edits) if edits else b"", base)

    async def refuse(self, edits: Edits, *told: str) -> None:
        """Judge and assert that it did not pass, for reasons that have each of `told`."""
        found = await self.judge(edits)
        assert not found.passed, self.log
        words = "\n".join([*found.problems, *(c.detail for c in found.acceptance)])
        for part in told:
            assert part in words, (words, self.log)

    async def judge_patch(self, patch: bytes, base: Base | None = None) -> Verification:
        base = base or await self.base()
        feature_list = FeatureList((self.feature,), self.project)
        files = frozenset(git(self.repo, "ls-files", "-z").split("\0")) - {""}
        repository = Repository(self.repo)
        texts = await exam_texts(repository, base.commit, self.feature.acceptance, files)
        protected = protected_globs(feature_list, self.feature, existing_files=files, texts=texts)
        job = VerifyJob(
            provider=self.provider, base=base, patch=patch, feature=self.feature,
            project=self.project, protected=protected,
            folder=self.folder / "log", key="attempt", timeout=self.timeout,
            measuring=self.measuring,
        )  # fmt: skip
        found = await verify(job)
        self.log = (job.folder / "verify.log").read_text()
        return found


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory, new_cache: Callable[[Path], Path]) -> Path:
    return new_cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture
async def provider(tmp_path: Path, cache: Path) -> AsyncIterator[LocalSandboxProvider]:
    made = LocalSandboxProvider("test", state=tmp_path / "state", cache=cache)
    try:
        await made.reap()
    except SandboxUnavailableError as error:
        pytest.skip(str(error))
    yield made
    await made.close()


@pytest.fixture
def field(provider: LocalSandboxProvider, tmp_path: Path) -> Field:
    return Field(provider, tmp_path)


@pytest.fixture
async def measured(field: Field, tmp_path: Path) -> AsyncIterator[Field]:
    """One that has quality measured as well."""
    async with Measuring(tmp_path) as field.measuring:
        yield field
