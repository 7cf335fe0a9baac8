"""Files that say what a project is made of: a setup command reads them, and may run them."""

from posixpath import basename

_NAMES = frozenset(
    ("pyproject.toml", "setup.py", "setup.cfg", "poetry.lock", "uv.lock", "pdm.lock", "Pipfile",
     "Pipfile.lock", "environment.yml", "package.json", "package-lock.json",
     "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "Cargo.toml", "Cargo.lock", "go.mod",
     "go.sum", "Gemfile", "Gemfile.lock", "composer.json", "composer.lock", "pom.xml",
     "build.gradle", "build.gradle.kts", "Makefile", "CMakeLists.txt")
)  # fmt: skip


def is_manifest(path: str) -> bool:
    """By its name alone, in whatever folder. `path` is separated by `/`."""
    name = basename(path)
    return name in _NAMES or (name.startswith("requirements") and name.endswith(".txt"))
