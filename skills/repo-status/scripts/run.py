"""Says where a git repository stands, in a few lines."""

import os
import sys


def git(folder, *words):
    """What git prints, or None when it fails. Without `subprocess`, whose import takes longer."""
    reader, writer = os.pipe()
    quiet = os.open(os.devnull, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_DUP2, quiet, 2)]
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    pid = os.posix_spawnp("git", ["git", "-C", folder, *words], env, file_actions=actions)
    os.close(writer)
    os.close(quiet)
    with open(reader, "rb") as out:
        said = out.read().decode("utf-8", "replace")
    return said if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 else None


def look(folder):
    """Facts by name, None when the folder is no repository."""
    said = git(folder, "status", "--porcelain=v2", "--branch", "--show-stash")
    if said is None:
        return None
    found = {
        "branch": "",
        "upstream": "",
        "ahead": 0,
        "behind": 0,
        "stashes": 0,
        "staged": [],
        "changed": [],
        "untracked": [],
        "conflicts": [],
    }
    for line in said.splitlines():
        note(found, line)
    log = git(folder, "log", "-5", "--format=%h %s") or ""
    found["latest"] = log.splitlines()
    return found


def note(found, line):
    words = line.split(" ")
    if line.startswith("# branch.head "):
        found["branch"] = words[2]
    elif line.startswith("# branch.upstream "):
        found["upstream"] = words[2]
    elif line.startswith("# branch.ab "):
        found["ahead"], found["behind"] = int(words[2]), -int(words[3])
    elif line.startswith("# stash "):
        found["stashes"] = int(words[2])
    elif words[0] in ("1", "2"):
        path = line.split(" ", 8 if words[0] == "1" else 9)[-1].split("\t")[0]
        for kind, mark in zip(("staged", "changed"), words[1]):
            if mark != ".":
                found[kind].append(path)
    elif words[0] == "u":
        found["conflicts"].append(line.split(" ", 10)[-1])
    elif words[0] == "?":
        found["untracked"].append(line[2:])


def tell(found):
    upstream = ""
    if found["upstream"]:
        upstream = f", {found['ahead']} ahead of and {found['behind']} behind {found['upstream']}"
    yield f"branch {found['branch']}{upstream}"
    for kind in ("conflicts", "staged", "changed", "untracked"):
        paths = found[kind]
        if paths:
            more = f" and {len(paths) - 10} more" if len(paths) > 10 else ""
            yield f"{kind} ({len(paths)}): {', '.join(paths[:10])}{more}"
    if not any(found[kind] for kind in ("conflicts", "staged", "changed", "untracked")):
        yield "nothing to commit"
    if found["stashes"]:
        yield f"stashes: {found['stashes']}"
    yield from (f"  {line}" for line in found["latest"])


def main(words):
    folders = [word for word in words if word != "--json"]
    if len(folders) > 1 or any(word.startswith("-") for word in folders):
        print("usage: run.py [FOLDER] [--json]", file=sys.stderr)
        return 2
    found = look(folders[0] if folders else ".")
    if found is None:
        print("this folder is no git repository", file=sys.stderr)
        return 2
    if "--json" in words:
        import json

        print(json.dumps(found))
    else:
        print("\n".join(tell(found)))
    return 1 if found["conflicts"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
