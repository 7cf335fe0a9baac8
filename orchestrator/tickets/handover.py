"""Decides whether a patch may be handed over for review: what no ticket's patch may contain."""

from collections.abc import Collection
from dataclasses import dataclass

from orchestrator.reporting.wording import one_line
from orchestrator.verify.acceptance import is_protected, matches

#: Changes of these act on people's machines, on CI or on other agents before anybody has read
#: them, or bring strangers' code in. Matched without regard to case.
REFUSED = (
    ".github/**", ".gitlab-ci.yml", ".circleci/**", ".buildkite/**", "azure-pipelines.yml",
    "Jenkinsfile", ".pre-commit-config.yaml", ".husky/**", ".gitmodules", ".gitattributes",
    ".gitconfig", ".git/**", "CLAUDE.md", "CLAUDE.local.md", "AGENTS.md", "GEMINI.md", ".claude/**",
    ".mcp.json", ".cursor/**", ".cursorrules", ".windsurf/**", ".aider*", ".vscode/**", ".idea/**",
    ".devcontainer/**", ".envrc", ".npmrc", ".yarnrc*", ".pypirc", "pip.conf",
    "*.lock", "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "go.sum",
    "requirements*.txt", "requirements/**", "constraints*.txt", "pyproject.toml", "setup.py",
    "setup.cfg", "Pipfile", "package.json", "Cargo.toml", "go.mod", "Gemfile", "pom.xml",
    "build.gradle*", "sitecustomize.py", "usercustomize.py", "*.pth",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """What a patch does to the base, as git says. `problems` are what its text shows (secrets,
    submodules, sizes); `modes`: path -> mode after it, as octal digits."""

    size: int
    paths: tuple[str, ...]
    modes: dict[str, str]
    binary: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a repository allows. `allowed` globs lift `REFUSED`, never `protected` or the rest."""

    protected: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    most_bytes: int = 400_000
    most_files: int = 50
    binary: bool = False


def problems(change: Change, terms: Terms) -> tuple[str, ...]:
    """Why the patch may not be handed over, each a line for a person; none when it may."""
    found = [one_line(p) for p in change.problems]
    if change.size > terms.most_bytes:
        found.append(
            f"the patch has {change.size:,} bytes; at most {terms.most_bytes:,} are allowed"
        )
    if len(change.paths) > terms.most_files:
        found.append(
            f"it touches {len(change.paths)} files; at most {terms.most_files} are allowed"
        )
    found += [f"{_path(p)}: {why}" for p in change.paths if (why := _refused(p, change, terms))]
    return tuple(found)


def _refused(path: str, change: Change, terms: Terms) -> str:
    mode = change.modes.get(path, "")
    if mode == "160000":
        return "a submodule"
    if mode == "120000":
        return "a symbolic link"
    if path in change.binary and not terms.binary:
        return "a binary file"
    if _falls_under(path, terms.protected):
        return "protected"
    if _falls_under(path, REFUSED) and not any(matches(path, g) for g in terms.allowed):
        return "may not be changed by a ticket; a person can, or allow it in .github/fibreflow.yaml"
    return ""


def _falls_under(path: str, globs: Collection[str]) -> bool:
    return is_protected(path.lower(), [g.lower() for g in globs]) or is_protected(path, globs)


def _path(path: str) -> str:
    return f"`{one_line(path, 200).replace('`', '')}`"
