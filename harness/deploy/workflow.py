"""Takes a deployment from step to step: each looks at the world first, and is on file after it."""

import contextlib
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import sandboxes
from harness.approvals.store import ApprovalStore
from harness.deploy import facts, smoke
from harness.deploy.adapter import Adapter, Release
from harness.deploy.command import CommandAdapter
from harness.deploy.compose import ComposeAdapter
from harness.deploy.process import ProcessAdapter
from harness.deploy.records import Records
from harness.deploy.ssh import SshAdapter
from harness.inputs import Target
from harness.notices import Notices
from harness.ports import Base, BaseSpec, Clock, SandboxProvider
from harness.record import files
from harness.record.workspace import Workspace
from harness.sla.promotion import promotion_held
from harness.verify import checks
from harness.verify.bench import Bench
from orchestrator import approval
from orchestrator.approval_requests import Request
from orchestrator.deploy import course
from orchestrator.deploy.course import Deployment, Step, Taken
from orchestrator.deploy.values import Deploy, EnvironmentName
from orchestrator.errors import DeployError, ProbeError, SandboxError, SlaFileError
from orchestrator.values import FeatureList

#: What a step's failure may be; everything else is the harness's own and ends the process.
_FAILURES = (DeployError, SandboxError, ProbeError)


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a deployment works with. `noted` is told of every point at which the process could
    die: `STEP begins`, `STEP done`, `STEP kept`."""

    workspace: Workspace
    given: FeatureList
    target: Target
    settings: Deploy
    store: ApprovalStore
    clock: Clock
    sandbox: str = "local"
    noted: Callable[[str], None] = lambda _: None
    override: str = ""
    adapters: Mapping[EnvironmentName, Adapter] = field(default_factory=dict)

    def adapter(self, name: EnvironmentName) -> Adapter:
        if name in self.adapters:
            return self.adapters[name]
        root = self.workspace.root
        if self.settings.adapter == "command":
            return CommandAdapter(root, name, self.settings)
        if self.settings.adapter == "ssh":
            return SshAdapter(root, name, self.settings)
        return local_adapter(self.workspace, name, self.settings)


def local_adapter(workspace: Workspace, name: EnvironmentName, settings: Deploy) -> ProcessAdapter:
    """Of an environment on this machine, behind a port that a supervisor keeps."""
    folder = workspace.logs / "deploy" / name
    if settings.adapter == "compose":
        return ComposeAdapter(folder, name, settings, workspace=workspace.root)
    return ProcessAdapter(folder, name, settings)


async def begin(wiring: Wiring, run: str, requester: str) -> Deployment:
    """A new deployment of the branch as it is, on file."""
    records, commit = Records(wiring.workspace), wiring.target.head
    made = Deployment(
        id=records.next_id(commit, [a.request.id for a in wiring.store.all()]),
        run=run,
        commit=commit,
        digest=await digest(wiring.target, commit),
        requester=requester,
    )
    records.store(made)
    return made


async def digest(target: Target, commit: str) -> str:
    """SHA-256 (hex) over names, modes and contents of all files of the commit, as git has them."""
    tree = await target.repository.git("ls-tree", "-r", "-z", "--full-tree", commit)
    return hashlib.sha256(tree.encode("utf-8", "surrogateescape")).hexdigest()


class Workflow:
    """One deployment on its way."""

    def __init__(self, wiring: Wiring, deployment: Deployment) -> None:
        self._wiring = wiring
        self._records = Records(wiring.workspace)
        self.deployment = deployment
        self._release = Release(
            wiring.target.repository.path,
            deployment.commit,
            deployment.digest,
            wiring.given.project.setup,
        )

    async def go_on(self) -> Deployment:
        """As far as it goes: to its end, or until it waits for a person or for data."""
        self._hear()
        while (step := course.next_step(self.deployment)) is not None:
            self._wiring.noted(f"{step} begins")
            taken = await self._take(step)
            self._wiring.noted(f"{step} done")
            if taken is None:
                self._records.store(self.deployment)
                return self.deployment
            self.deployment = course.take(self.deployment, taken)
            self._records.store(self.deployment)
            self._wiring.noted(f"{step} kept")
            self._hear()
        return self.deployment

    def _hear(self) -> None:
        """What a person has answered by now, whichever way."""
        asked = self._wiring.store.find(self.deployment.request)
        if asked is None:
            return
        reason = asked.answer.reason if asked.answer is not None else ""
        heard = course.answered(self.deployment, asked.standing, reason)
        if heard != self.deployment:
            self.deployment = heard
            self._records.store(heard)

    async def _take(self, step: Step) -> Taken | None:
        """None when it has to wait."""
        try:
            detail = await self._EFFECTS[step](self)
        except _FAILURES as error:
            return Taken(step, False, str(error), self._wiring.clock.now())
        if detail is None:
            return None
        return Taken(step, True, detail, self._wiring.clock.now())

    # ------------------------------------------------------------------ before anything is live

    async def _suite(self) -> str:
        """Everything that has to hold, once more, in clean sandboxes of exactly this commit."""
        wiring, done = self._wiring, 0
        merged = (f for f in wiring.given.features if f.id in wiring.target.integrated)
        commands = [wiring.given.project.test, *(c for f in merged for c in f.acceptance)]
        log = wiring.workspace.logs / "deployments" / f"{self.deployment.id}.log"
        async with self._based() as (provider, base):
            seconds = wiring.given.defaults.timeout_minutes * 60
            bench = Bench(provider, self.deployment.id, log, seconds, total=4 * seconds)
            try:
                for command in dict.fromkeys(c for c in commands if c):
                    checked = await checks.check(bench, known=base, tree=base, command=command)
                    if not checked.result.passed:
                        raise DeployError(f"`{command}` is red: {checked.result.detail}; see {log}")
                    done += 1
            finally:
                bench.close()
        return f"{done} commands green"

    async def _scan(self) -> str:
        async with self._based() as (provider, base):
            box = await provider.create(base, f"{self.deployment.id}-scan")
            try:
                found = await facts.scan(box)
            finally:
                await box.destroy()
        files.replace_json(self._findings_file, found)
        return "no scan could be made" if found is None else f"{len(found)} findings"

    @property
    def _findings_file(self) -> Path:
        return self._wiring.workspace.logs / "deployments" / self.deployment.id / "findings.json"

    @contextlib.asynccontextmanager
    async def _based(self) -> AsyncIterator[tuple[SandboxProvider, Base]]:
        wiring, release = self._wiring, self._release
        provider = sandboxes.provider(wiring.sandbox, f"deployment-{self.deployment.id}")
        self._findings_file.parent.mkdir(parents=True, exist_ok=True)
        try:
            spec = BaseSpec(release.repo, release.commit, release.setup, wiring.given.project.env)
            yield provider, await provider.prepare(spec)
        finally:
            await provider.close(remove=True)

    async def _staging(self) -> str:
        adapter = self._wiring.adapter("staging")
        await adapter.bring_up(self._release)
        return self._noted_url("staging", await adapter.switch(self._release))

    async def _staging_smoke(self) -> str:
        return await self._smoke("staging", self._url("staging"))

    # ------------------------------------------------------------------ a person, and data

    async def _ask(self) -> str:
        change = await self._change()
        found = approval.assess(change, self._wiring.settings.risk)
        self.deployment = replace(self.deployment, strategy=found.strategy)
        if found.needs_person:
            request = self._request(found, change.cost_usd, await self._diff())
            self._wiring.store.ask(request, self._wiring.settings.people)
            self._agree(request)
            self.deployment = replace(self.deployment, request=request.id)
            self._tell("approval_needed", f"{request.id} waits for approval: {found.strategy}")
        elif found.strategy == "OPTIONAL":
            self._tell("please_look", f"{self.deployment.id} goes on: {'; '.join(found.reasons)}")
        return f"{found.strategy}: {'; '.join(found.reasons)}"

    def _agree(self, request: Request) -> None:
        """A request of before a crash stands as it was; no answer to it counts for another one."""
        kept = self._wiring.store.find(request.id)
        if kept is None or _subject(kept.request) != _subject(request):
            why = "it was asked for otherwise before the owner made another rule"
            self._wiring.store.withdraw(request.id, request.requester, why)
            raise DeployError(
                f"{request.id} was asked for otherwise before; `fibreflow deploy --anew` asks anew"
            )

    async def _change(self) -> approval.Change:
        wiring = self._wiring
        raw = json.loads(self._findings_file.read_bytes())
        findings = None if raw is None else tuple((level, words) for level, words in raw)
        integrated = tuple(wiring.target.integrated)
        return await facts.change(
            wiring.workspace,
            wiring.target.repository,
            integrated,
            span=(await wiring.adapter("production").live(), self.deployment.commit),
            findings=findings,
            left_out=len(wiring.given.features) - len(integrated),
            rejected=self._was_rejected(),
        )

    def _was_rejected(self) -> bool:
        """By a person, since something was last live; only people can say whether it is mended."""
        before = (d for d in self._records.all() if d.id != self.deployment.id)
        since = itertools.takewhile(lambda d: course.status(d) != "live", before)
        return any(d.answer == "rejected" for d in since)

    async def _diff(self) -> str:
        """How much differs from what is live, or was built on; and how to see it."""
        repository, commit = self._wiring.target.repository, self.deployment.commit
        live = await self._wiring.adapter("production").live()
        known = await repository.commit_of(live) if live else None
        base = known or self._wiring.target.base
        size = (await repository.git("diff", "--shortstat", base, commit)).strip() or "no change"
        what = "what is live" if known else "the base"
        see = f"git -C {repository.path} diff --stat {base[:12]} {commit[:12]}"
        return f"{size} since {what}: {see}"

    def _request(self, found: approval.Assessment, cost_usd: float | None, diff: str) -> Request:
        wiring, own, now = self._wiring, self.deployment, self._wiring.clock.now()
        shown = (
            ("what", ", ".join(wiring.target.integrated)),
            ("staging", self._url("staging")),
            ("evidence", "; ".join(f"{t.step}: {t.detail}" for t in own.taken)),
            ("cost", "not known" if cost_usd is None else f"${cost_usd:.2f}"),
            ("diff", diff),
        )
        return Request(
            id=own.id,
            strategy=found.strategy,
            environment="production",
            run=own.run,
            commit=own.commit,
            digest=own.digest,
            requester=own.requester,
            asked=now,
            expires=now + wiring.settings.expires,
            reasons=found.reasons,
            facts=shown,
        )

    async def _data(self) -> str | None:
        """Production must not be built on stale data: None while it is."""
        try:
            why = await promotion_held(
                self._wiring.workspace.root, self._wiring.clock, self._wiring.override
            )
        except SlaFileError as error:
            raise DeployError(str(error)) from error
        if why:
            self.deployment = replace(self.deployment, waits=f"fresh data: {why}")
            return None
        return "fresh enough"

    # ------------------------------------------------------------------ production

    async def _production(self) -> str:
        url = await self._wiring.adapter("production").bring_up(self._release)
        return self._noted_url("candidate", url)

    async def _production_smoke(self) -> str:
        return await self._smoke("production", self._url("candidate"))

    async def _switch(self) -> str:
        url = await self._wiring.adapter("production").switch(self._release)
        return self._noted_url("production", url)

    async def _confirm(self) -> str:
        return await self._smoke("production", self._url("production"))

    async def _announce(self) -> str:
        commit = self.deployment.commit[:12]
        self._tell("deployed", f"{commit} is live at {self._url('production') or 'production'}")
        return "announced"

    async def _roll_back(self) -> str:
        live = await self._wiring.adapter("production").roll_back(self._release)
        failed = self.deployment.failure
        why = f"{failed.step}: {failed.detail}" if failed else "it failed"
        self._tell("rolled_back", f"{self.deployment.commit[:12]} was rolled back: {why}")
        return f"live is {live[:12] or 'nothing, as before'}"

    # ------------------------------------------------------------------ what several need

    async def _smoke(self, name: EnvironmentName, url: str) -> str:
        own = self._wiring.settings.environment(name)
        return await smoke.test(own.smoke, url or own.url, self._wiring.workspace.root)

    def _noted_url(self, name: str, url: str) -> str:
        others = [(n, u) for n, u in self.deployment.urls if n != name]
        self.deployment = replace(self.deployment, urls=(*others, (name, url)))
        return url or "done"

    def _url(self, name: str) -> str:
        return dict(self.deployment.urls).get(name, "")

    def _tell(self, kind: str, text: str) -> None:
        notices = Notices(self._wiring.workspace, self._wiring.clock)
        notices.tell(f"{self.deployment.id}/{kind}", kind, text)

    _EFFECTS: Mapping[Step, Callable[["Workflow"], Awaitable[str | None]]] = {
        "suite": _suite,
        "scan": _scan,
        "staging": _staging,
        "staging_smoke": _staging_smoke,
        "ask": _ask,
        "data": _data,
        "production": _production,
        "production_smoke": _production_smoke,
        "switch": _switch,
        "confirm": _confirm,
        "announce": _announce,
        "roll_back": _roll_back,
    }


def _subject(request: Request) -> tuple[str, ...]:
    """What an answer is about, and who may give it."""
    return request.commit, request.digest, request.strategy


async def wait_for_answer(wiring: Wiring, workflow: Workflow, seconds: float = 1.0) -> Deployment:
    """Go on, and wait for people and data as long as it takes."""
    while course.status(await workflow.go_on()) == "waiting":
        await wiring.clock.sleep(seconds)
    return workflow.deployment
