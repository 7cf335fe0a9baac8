"""Makes what sandboxes are forked from: a template with setup done, and a snapshot per commit.

The template is named by what setup depends on (its text, the lock files, the tools), so that
dependencies are installed once for all commits that share them. The snapshot adds one commit.
"""

import asyncio
import contextlib
import hashlib
import importlib.resources
import json
import os
import re
import shlex
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.ports import Base, BaseSpec, SandboxLimits
from harness.record import files
from harness.sandboxes import checkout
from harness.sandboxes.e2b.cloud import Cloud
from harness.sandboxes.e2b.errors import translated
from harness.sandboxes.e2b.jobs import AGENT, INSIDE, PLACE, Job, Runner, document
from harness.sandboxes.e2b.sandbox import (
    BASE_GIT,
    ENVIRONMENT,
    HOME,
    TEMPORARY,
    WORK,
    WRITTEN,
    Prepared,
    environment,
)
from harness.sandboxes.setup_inputs import digest_of_setup
from harness.sandboxes.toolbox import versions
from orchestrator.errors import SandboxError, SandboxUnavailableError

#: Changes whenever what a template or a base consists of does.
_FORMAT = 1
_FACTS = f"{PLACE}/base.json"
_BUNDLE = f"{PLACE}/base.bundle"
_SETUP_LIMITS = SandboxLimits(
    memory_mb=None, processes=4096, open_files=65536, file_mb=16384, disk_mb=None, inodes=None
)
_GIT_SECONDS = 900.0
_LEFT_OVER = "git ls-files -z --others --exclude-standard --directory --no-empty-directory"

#: As root. `[ "$(id -u)" != 0 ]`: where there is but one user, nothing can be given to another.
_SYSTEM = """
set -e
grep -q '^agent:' /etc/passwd ||
  echo 'agent:x:{uid}:{uid}:agent:{home}:/bin/bash' >> /etc/passwd
mkdir -p {home} {tmp} {work}
python3 -m venv {env}
{env}/bin/pip install --quiet --disable-pip-version-check {tools}
[ "$(id -u)" != 0 ] || chown -R {uid}:{uid} /home/agent {env}
"""
#: As root, around a setup that may write to the environment: the tools that verify are put back.
_SAVE_TOOLS = "cp -a {env} {place}/env"
_TAKE_BACK = """
set -e
[ ! -d {place}/env ] || cp -a --remove-destination {place}/env/. {env}/
rm -rf {place}/env {place}/jobs
[ "$(id -u)" != 0 ] || chown -R 0:0 {env}
"""

#: As the agent, in the workspace. History ends at the commit: its parents are not there.
_CHECK_OUT = """
set -e
[ -d .git ] || git init --quiet --template= --initial-branch=main --object-format={kind}
cat > .git/config.new <<'END'
{config}END
mv .git/config.new .git/config
git bundle unbundle {bundle} > /dev/null
echo {commit} > .git/shallow
git update-ref --no-deref HEAD {commit}
git symbolic-ref HEAD refs/heads/main
git update-ref refs/heads/main {commit}
git reset --quiet --hard main
rm -rf .git/logs .git/ORIG_HEAD .git/FETCH_HEAD
mkdir -p .git/info
"""
#: As root, once the workspace is as it shall be.
_PUT_ASIDE = """
set -e
rm -rf {git} {bundle}
cp -a {work}/.git {git}
[ "$(id -u)" != 0 ] || chown -R 0:0 {git}
chmod -R go+rX {git}
chmod 755 {place}
"""


@dataclass(frozen=True, slots=True)
class _Source:
    """A commit on this machine, checked out inertly in `tree`, and everything named after it."""

    spec: BaseSpec
    commit: str
    folder: Path
    template: str
    base: str

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def bundle(self) -> Path:
        return self.folder / "base.bundle"


def digest(*facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:20]


def program() -> dict[str, str]:
    """File name -> text of what runs our jobs inside."""
    folder = importlib.resources.files(__package__)
    names = ("inside.py", "inside_output.py", "inside_processes.py")
    return {name: folder.joinpath(name).read_text("utf-8") for name in names}


def tools() -> list[str]:
    """The toolbox as pip requirements: what verification runs, in the versions used here."""
    found = versions()
    return [f"{name}=={found[name]}" for name in ("pytest", "coverage", "ruff") if name in found]


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where bases are made, and whose they are; `used` hears of the seconds that each took."""

    cloud: Cloud
    labels: Mapping[str, str]
    used: Callable[[str, float], None]


async def prepare(place: Workplace, spec: BaseSpec, facts: Path) -> Base:
    """The base of `spec`, made when the account has none. `facts`: where its folder goes.

    Raises `GitError` for an unknown commit, `SandboxError` when setup fails.
    """
    if spec.allow != ("*",):
        raise SandboxUnavailableError(
            "the sandbox provider `e2b` cannot limit what setup reaches while a template is "
            "built; leave project.setup the whole network, or use --sandbox local"
        )
    cloud = place.cloud
    git_dir, commit = await asyncio.to_thread(checkout.resolve, spec.repo, spec.commit)
    with tempfile.TemporaryDirectory(prefix="fibreflow-e2b-") as name:
        source = await asyncio.to_thread(_source, cloud, spec, git_dir, commit, Path(name))
        folder = facts / source.base / "facts"
        folder.mkdir(parents=True, exist_ok=True)
        base = Base(source.base, commit, folder)
        found = await cloud.find_snapshot(source.base)
        handle = folder.parent / "handle.json"
        known = await asyncio.to_thread(_load, handle, found)
        if known is None:
            if found is None:
                await _template(cloud, source)
                known = await _commit(place, source)
            else:  # made by another machine
                known = await _told(place, source, found)
            await asyncio.to_thread(files.replace_json, handle, asdict(known))
    return replace(base, handle=known, fresh=found is None)


def _source(cloud: Cloud, spec: BaseSpec, git_dir: Path, commit: str, folder: Path) -> _Source:
    checkout.check_out(git_dir, commit, folder / "tree")
    settings = cloud.settings
    made_of = (
        _FORMAT, settings.image, settings.cpus, settings.memory_mb, tools(),
        program(), spec.setup, sorted(spec.env.items()),
        digest_of_setup(folder / "tree", spec.setup) if spec.setup else "",
    )  # fmt: skip
    template = f"fibreflow-{digest(*made_of)}"
    return _Source(spec, commit, folder, template, f"fibreflow-base-{digest(template, commit)}")


def _load(path: Path, snapshot: str | None) -> Prepared | None:
    """What is known here of a base whose snapshot exists."""
    if snapshot is None:
        return None
    try:
        return parsed({**json.loads(path.read_bytes()), "snapshot": snapshot})
    except (OSError, ValueError, TypeError):
        return None


def parsed(known: Mapping[str, Any]) -> Prepared:
    """Raises `TypeError` and `ValueError` for what is not a handle."""
    lists = {k: tuple(known[k]) for k in ("path", "roots", "before") if k in known}
    return Prepared(**{**known, **lists})


# ------------------------------------------------------------------- template


async def _template(cloud: Cloud, source: _Source) -> None:
    from e2b import AsyncTemplate  # noqa: PLC0415 - the SDK takes most of a second to import

    settings = cloud.settings
    account: dict[str, Any] = {**settings.account}
    with translated("look for a template"):
        if await AsyncTemplate.exists(source.template, **account):
            return
    await asyncio.to_thread(_write_context, source)
    made = AsyncTemplate(file_context_path=str(source.folder)).from_image(settings.image)
    made = made.set_user("root")
    for name in program():
        made = made.copy(name, f"{PLACE}/{name}")
    made = made.run_cmd(_system())
    if source.spec.setup:
        made = made.run_cmd(_SAVE_TOOLS.format(env=ENVIRONMENT, place=PLACE))
        made = made.copy("base.bundle", _BUNDLE)
        for name in ("checkout", "setup"):
            made = made.copy(f"{name}.json", f"{PLACE}/{name}.json")
            made = made.run_cmd(f"python3 -I {INSIDE} run @{PLACE}/{name}.json 0")
    made = made.run_cmd(_TAKE_BACK.format(env=ENVIRONMENT, place=PLACE).strip())
    said: list[str] = []
    try:
        with translated("build a template"):
            await AsyncTemplate.build(
                made, source.template, cpu_count=settings.cpus, memory_mb=settings.memory_mb,
                on_build_logs=lambda entry: said.append(entry.message), **account,
            )  # fmt: skip
    except SandboxError as error:
        raise _failure(source.spec, said, error) from error


def _system() -> str:
    return _SYSTEM.format(
        uid=AGENT, home=HOME, tmp=TEMPORARY, work=WORK, env=ENVIRONMENT,
        tools=shlex.join(tools()),
    ).strip()  # fmt: skip


def _write_context(source: _Source) -> None:
    """The files of the build: ours, the commit, and the two jobs that run as the agent."""
    for name, text in program().items():
        (source.folder / name).write_text(text, encoding="utf-8")
    _write_bundle(source)
    base = Prepared("", dict(source.spec.env))
    variables = environment(base)
    jobs = {
        "checkout": Job(["/bin/bash", "-c", _check_out(source)], variables, WORK, _SETUP_LIMITS,
                        _GIT_SECONDS),
        "setup": Job(["/bin/bash", "-c", source.spec.setup or ":"], variables, WORK,
                     _SETUP_LIMITS, source.spec.setup_timeout),
    }  # fmt: skip
    for name, job in jobs.items():
        text = json.dumps({**document(job, name), "plain": True})
        (source.folder / f"{name}.json").write_text(text, encoding="utf-8")


def _write_bundle(source: _Source) -> None:
    if not source.bundle.exists():
        checkout.bundle(source.tree, source.bundle)


def _failure(spec: BaseSpec, said: list[str], error: SandboxError) -> SandboxError:
    text = "\n".join(said)
    ended = re.findall(r"^setup ended: (.*)$", text, re.MULTILINE)
    if not ended:
        return SandboxError(f"{error}\n{text[-2000:]}")
    how = ended[-1]
    if how == "timed out":
        how = f"took longer than {spec.setup_timeout:.0f} s"
    return SandboxError(
        f"setup `{spec.setup}` ended with {how}; correct project.setup or the network. It said:\n"
        f"{text[-2000:]}"
    )


# ----------------------------------------------------------------- the commit


async def _commit(place: Workplace, source: _Source) -> Prepared:
    async with _machine(place, source.template, source) as runner:
        prepared = await _fill(runner, source)
        snapshot = await place.cloud.snapshot(runner.sdk.sandbox_id, source.base)
        return replace(prepared, snapshot=snapshot)


async def _told(place: Workplace, source: _Source, snapshot: str) -> Prepared:
    """What a base's snapshot says of itself."""
    async with _machine(place, snapshot, source) as runner:
        facts = await told(runner)
    known = {k: v for k, v in facts.items() if k not in {"id", "commit"}}
    return replace(parsed(known), snapshot=snapshot)


async def told(runner: Runner) -> dict[str, Any]:
    """What a sandbox says that it was made from: the fields of `Prepared`, `id` and `commit`."""
    said: list[str] = []
    await runner.root(f"cat {_FACTS}", said.append)
    facts: dict[str, Any] = json.loads("".join(said))
    return facts


@contextlib.asynccontextmanager
async def _machine(place: Workplace, template: str, source: _Source) -> AsyncIterator[Runner]:
    """A sandbox for a base alone, ended with the block."""
    cloud, made_for = place.cloud, {**place.labels, "fibreflow_base": source.base}
    seconds = cloud.settings.lifetime_seconds
    sdk = await cloud.create(template, made_for, SandboxLimits(), seconds)
    since = time.monotonic()
    try:
        yield Runner(f"for base {source.base}", sdk, cloud.settings)
    finally:
        await asyncio.shield(_discard(cloud, sdk.sandbox_id))
        place.used(source.base, time.monotonic() - since)


async def _discard(cloud: Cloud, id_: str) -> None:
    try:
        await cloud.kill(id_)
    finally:
        cloud.release()


async def _fill(runner: Runner, source: _Source) -> Prepared:
    await asyncio.to_thread(_write_bundle, source)
    with source.bundle.open("rb") as file:
        await runner.write(_BUNDLE, file)
    await runner.root(f"chmod 755 {PLACE}; chmod 644 {_BUNDLE}", lambda _: None)
    agent = _Agent(runner, environment(Prepared("", dict(source.spec.env))))
    await agent.run(_check_out(source))
    left_over = await agent.run(_LEFT_OVER)
    excluded = checkout.excluded(tuple(os.fsdecode(n) for n in left_over.split(b"\0") if n))
    await agent.run("cat > .git/info/exclude", excluded)
    await agent.run("git update-index -q --refresh || :")
    folders = await agent.run(
        "for p in .venv/bin node_modules/.bin src; do [ -d $p ] && echo $p; done; :"
    )
    found = folders.decode().split()
    place = {"git": BASE_GIT, "bundle": _BUNDLE, "work": WORK, "place": PLACE}
    await runner.root(_PUT_ASIDE.format(**place), lambda _: None)
    said: list[str] = []
    await runner.root(f"python3 -I {INSIDE} measure {shlex.join(WRITTEN)}", said.append)
    prepared = Prepared(
        "", dict(source.spec.env), tuple(p for p in found if p != "src"),
        ("src",) if "src" in found else (), tuple(json.loads("".join(said))),
    )  # fmt: skip
    facts = {**asdict(prepared), "id": source.base, "commit": source.commit}
    await runner.write(_FACTS, json.dumps(facts).encode())
    return prepared


@dataclass(frozen=True, slots=True)
class _Agent:
    runner: Runner
    variables: Mapping[str, str]

    async def run(self, line: str, stdin: bytes | None = None) -> bytes:
        result = await self.runner.run(
            Job(["/bin/bash", "-c", line], self.variables, WORK, _SETUP_LIMITS, _GIT_SECONDS,
                limit=256_000_000, stdin=stdin)
        )  # fmt: skip
        if not result.ok:
            tail = result.err.decode("utf-8", "replace").strip()[-1000:]
            raise SandboxError(f"`{line.strip()[:80]}` failed while a base was made: {tail}")
        return result.out


def _check_out(source: _Source) -> str:
    return _CHECK_OUT.format(
        kind=checkout.object_format(source.tree), config=checkout.CONFIG, bundle=_BUNDLE,
        commit=source.commit,
    )  # fmt: skip
