"""What an agent is told about the repository: its files, its README, and what was built lately."""

from harness import progress
from harness.git import Repository
from harness.record.workspace import Workspace
from harness.services import Services
from orchestrator.values import Project

#: A list longer than this is cut: an agent can look for itself, and every attempt pays for it.
MAX_FILES = 300
MAX_README_CHARS = 6_000
MAX_PROGRESS_CHARS = 3_000
_READMES = ("README.md", "README.rst", "README.txt", "README")


async def describe(services: Services, commit: str) -> str:
    """The same text for every attempt of a round, so that its tokens are cached."""
    return await describe_commit(services.repository, commit, services.workspace, services.project)


async def describe_commit(
    repository: Repository, commit: str, workspace: Workspace, project: Project
) -> str:
    """What `describe` says, before there are services."""
    files = await repository.files(commit)
    shown = "\n".join(files[:MAX_FILES])
    if len(files) > MAX_FILES:
        shown += f"\n... and {len(files) - MAX_FILES} more"
    parts = [f"Files at {commit[:12]}:\n{shown}"]
    readme = next((name for name in _READMES if name in files), None)
    if readme is not None:
        text = await repository.read(commit, readme) or ""
        parts.append(f"{readme}:\n{text[:MAX_README_CHARS]}")
    recent = progress.recent(workspace.progress, MAX_PROGRESS_CHARS)
    if recent:
        parts.append(f"Built lately:\n{recent}")
    if project.test:
        parts.append(f"The project's own tests: {project.test}")
    return "\n\n".join(parts)
