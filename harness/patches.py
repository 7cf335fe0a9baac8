"""The patch of a sandbox: what its files differ in from the base, as git in the sandbox sees it.

git runs inside, on the clean git directory that nothing inside could write, so neither hooks
nor configuration nor history that the agent left has a say. The bytes are hostile all the same.
"""

from typing import Protocol, runtime_checkable

from harness.ports import Base, Sandbox
from orchestrator.errors import PatchRejectedError, SandboxError

#: git itself cannot take the files as they are: a repository within without a commit, for example.
_UNFIT = 65

#: Larger than any change a person would review; a patch beyond it is a mistake or an attack.
MAX_PATCH_BYTES = 20_000_000

#: Compiled Python is left out whatever the attempt's ignore file says: it is a trace of running
#: tests, and verification refuses it. The index is copied, so that unchanged files need not be
#: hashed again; new objects go to a folder of their own, for the git directory is read-only.
_SCRIPT = """
set -e
place=$(mktemp -d)
export GIT_DIR="$1" GIT_WORK_TREE="$2" GIT_INDEX_FILE="$place/index"
export GIT_OBJECT_DIRECTORY="$place" GIT_ALTERNATE_OBJECT_DIRECTORIES="$1/objects"
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_OPTIONAL_LOCKS=0
cp "$1/index" "$place/index"
cd "$2"
git -c core.safecrlf=false -c core.fsmonitor=false -c advice.addEmbeddedRepo=false add --all \
    -- . ':(exclude,glob)**/__pycache__/**' ':(exclude,glob)**/*.py[co]' \
    || { [ $? = 128 ] && exit 65; exit 1; }
git diff --cached --binary --full-index --no-color --no-ext-diff --no-textconv --no-renames "$3"
"""


@runtime_checkable
class Attentive(Protocol):
    """What a sandbox may offer besides: to know without running anything that nothing changed."""

    async def untouched(self) -> bool: ...


async def export(sandbox: Sandbox, base: Base) -> bytes:
    """The whole change since `base.commit`, empty when there is none.

    Raises `PatchRejectedError` when it is too large or git cannot take the files that are there,
    `SandboxError` when git fails otherwise.
    """
    if isinstance(sandbox, Attentive) and await sandbox.untouched():
        return b""
    result = await sandbox.exec(
        ["sh", "-c", _SCRIPT, "export", sandbox.base_git, sandbox.workdir, base.commit],
        timeout=120,
        limit=MAX_PATCH_BYTES,
    )
    if result.truncated:
        raise PatchRejectedError(f"the patch is larger than {MAX_PATCH_BYTES // 1_000_000} MB")
    if not result.ok:
        tail = result.err.decode("utf-8", "replace").strip()[-400:]
        if result.exit == _UNFIT:
            raise PatchRejectedError(f"git cannot take the files that are there: {tail}")
        raise SandboxError(f"the patch of {sandbox.id} could not be read: {tail}")
    return result.out
