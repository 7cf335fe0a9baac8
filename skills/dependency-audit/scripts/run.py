"""Lists a project's dependencies that are declared loosely."""

import os
import sys

PYTHON_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml")
NPM_LOCKS = ("package-lock.json", "yarn.lock", "pnpm-lock.yaml", "npm-shrinkwrap.json", "bun.lock")


def read(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
        return file.read()


def python_problem(spec):
    """(name, problem or None) of one requirement line."""
    spec = spec.split(";")[0].split(" #")[0].strip()
    end = next((n for n, c in enumerate(spec) if c in "<>=!~ @[("), len(spec))
    name, rest = spec[:end].strip(), spec[end:]
    if "@" in rest or "://" in spec:
        return name, "taken from a URL"
    if "==" in rest or "~=" in rest or "<" in rest:
        return name, None
    return name, "no upper bound" if ">" in rest else "no bound at all"


def npm_problem(version):
    if not isinstance(version, str):
        return "no version"
    if "://" in version or version.startswith(("git", "file:", "github:")) or "/" in version:
        return "taken from a URL or a path"
    return "any version" if version in ("*", "latest", "x", "") else None


def audit(folder):
    """Findings as (file, dependency, problem)."""
    names, found = sorted(os.listdir(folder)), []
    for name in names:
        if name.startswith("requirements") and name.endswith(".txt"):
            lines = (line.strip() for line in read(folder, name).splitlines())
            specs = [line for line in lines if line and not line.startswith(("#", "-"))]
            found += checked(name, map(python_problem, specs))
    if "pyproject.toml" in names:
        import tomllib

        project = tomllib.loads(read(folder, "pyproject.toml")).get("project", {})
        specs = list(project.get("dependencies", ()))
        for extra in project.get("optional-dependencies", {}).values():
            specs += extra
        found += checked("pyproject.toml", map(python_problem, specs), repeat=True)
        if specs and not any(lock in names for lock in PYTHON_LOCKS):
            found.append(("pyproject.toml", "", "no lock file"))
    if "package.json" in names:
        import json

        package = json.loads(read(folder, "package.json"))
        some = {**package.get("dependencies", {}), **package.get("devDependencies", {})}
        found += checked("package.json", ((n, npm_problem(v)) for n, v in some.items()))
        if some and not any(lock in names for lock in NPM_LOCKS):
            found.append(("package.json", "", "no lock file"))
    return found


def checked(file, entries, repeat=False):
    """Findings of one file; `repeat`: a name may occur in several of its lists."""
    seen = set()
    for name, problem in entries:
        if name.lower() in seen and not repeat:
            yield file, name, "declared twice"
        seen.add(name.lower())
        if problem:
            yield file, name, problem


def main(words):
    folders = [word for word in words if word != "--json"]
    if len(folders) > 1 or any(word.startswith("-") for word in folders):
        print("usage: run.py [FOLDER] [--json]", file=sys.stderr)
        return 2
    folder = folders[0] if folders else "."
    try:
        found = audit(folder)
    except (OSError, ValueError) as error:
        print(f"{folder}: {error}", file=sys.stderr)
        return 2
    if "--json" in words:
        import json

        keys = ("file", "dependency", "problem")
        print(json.dumps([dict(zip(keys, one)) for one in found]))
    else:
        for file, name, problem in found:
            print(f"{file}: {name + ': ' if name else ''}{problem}")
        if not found:
            print("nothing is declared loosely")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
