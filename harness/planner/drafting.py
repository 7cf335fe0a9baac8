"""Has the roles write their documents until all of them stand; each is a checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from harness.planner.asking import Asking, answer_of, key_of
from harness.planner.papers import Papers, Plan
from harness.ports import ModelReply
from harness.record.journal import Journal
from orchestrator import events, registry
from orchestrator.errors import PlanError
from orchestrator.planner import course as planning
from orchestrator.planner.course import Ground, Stuck, Turn
from orchestrator.planner.documents import Comment, Document
from orchestrator.registry import Kind
from orchestrator.reporting.wording import one_line


@dataclass(frozen=True, slots=True)
class Drafting:
    """`ground`: what the checks know of the repository and the list. `noted` is told of every
    point at which the process could die."""

    plan: Plan
    papers: Papers
    journal: Journal
    asking: Asking
    ground: Ground
    noted: Callable[[str], None] = lambda _: None

    async def draft(self) -> Mapping[Kind, Document]:
        """All documents, standing. Raises `PlanError` when one was sent back too often."""
        await self._settle()
        while (turn := planning.next_turn(self.papers.documents(self.plan))) is not None:
            if isinstance(turn, Stuck):
                raise _stuck(turn, self.papers, self.plan)
            await self._write(turn)
        return planning.accepted(self.papers.documents(self.plan))

    def send_back(self, tests: Document, wrong: Mapping[str, str]) -> None:
        """What only running the tests has shown: feature -> words."""
        words = [f"feature {id_}: its test {what}" for id_, what in wrong.items()]
        said = tuple(Comment(planning.CHECKS, text) for text in words)
        self.papers.keep(self.plan, replace(tests, comments=(*tests.comments, *said)))
        text = f"{tests.name} was sent back: {one_line('; '.join(words))}"
        self.journal.write(events.WarningGiven(message=text))

    async def _settle(self) -> None:
        """A crash may have come between writing a document down and paying for it, or noting it."""
        for one in self.papers.documents(self.plan):
            role = registry.author(one.kind)
            await self.asking.gateway.settle(key_of(role), one.version, one.cost_usd)
            self._note(one, 0.0)

    async def _write(self, turn: Turn) -> None:
        standing = planning.accepted(self.papers.documents(self.plan))

        def kept(reply: ModelReply, seconds: float) -> Document:
            made = self._judged(turn, reply, standing)
            self.papers.keep(self.plan, made)
            self.noted(f"{made.name} kept")
            self._note(made, seconds)
            self.noted(f"{made.name} noted")
            return made

        await self.asking.ask(turn, tuple(standing.values()), kept)
        self.noted(f"{turn.role.writes} v{turn.version} paid for")

    def _judged(self, turn: Turn, reply: ModelReply, standing: Mapping[Kind, Document]) -> Document:
        content, problems = planning.read(turn.role.writes, answer_of(reply), standing, self.ground)
        return Document(
            kind=turn.role.writes,
            version=turn.version,
            author=turn.role.name,
            parent=turn.parent.name if turn.parent is not None else "",
            reply=reply.content,
            content=content,
            comments=tuple(Comment(planning.CHECKS, text) for text in problems),
            model=reply.model,
            source=reply.source,
            usage=reply.usage,
            cost_usd=reply.cost_usd,
        )

    def _note(self, one: Document, seconds: float) -> None:
        self.journal.write(
            events.DocumentWritten(
                role=one.author,
                document=one.kind,
                version=one.version,
                model=one.model,
                source=one.source,
                usage=one.usage,
                cost_usd=one.cost_usd,
                problems=tuple(c.text for c in one.comments if c.by == planning.CHECKS),
                seconds=round(seconds, 3),
            )
        )


def _stuck(turn: Stuck, papers: Papers, plan: Plan) -> PlanError:
    problems = "; ".join(one_line(c.text, 300) for c in turn.last.comments[:3])
    return PlanError(
        f"the {turn.role.title}'s document was sent back {registry.SENT_BACK} times and is still "
        f"not usable: {problems}; read {papers.folder(plan)}, and say the goal in other words"
    )
