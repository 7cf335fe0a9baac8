"""Opens the store of artifacts that the environment names."""

import os
from collections.abc import Mapping
from pathlib import Path

from harness.artifacts.directory import DirectoryStore
from harness.ports import ArtifactStore
from orchestrator.errors import InputError, MachineError

VARIABLE = "HARNESS_ARTIFACTS"


def open_store(environ: Mapping[str, str] = os.environ) -> ArtifactStore | None:
    """The store at `HARNESS_ARTIFACTS`, a folder or `s3://BUCKET/PREFIX`; None without one: then
    the folder `logs/`, which all machines share, passes everything.

    Raises `InputError` for another kind of address, `MachineError` where a package is missing.
    """
    where = environ.get(VARIABLE, "").strip()
    if not where:
        return None
    if where.startswith("s3://"):
        try:
            from harness.artifacts.objects import ObjectStore  # noqa: PLC0415 - only where asked
        except ModuleNotFoundError as error:
            raise MachineError(
                f"the package {error.name!r} is not installed, which {VARIABLE}={where} needs: "
                "`pip install 'fibreflow[s3]'`"
            ) from error
        return ObjectStore(where)
    if "://" in where or not Path(where).is_absolute():
        raise InputError(f"{VARIABLE}={where}: must be s3://BUCKET/PREFIX or an absolute path")
    return DirectoryStore(Path(where))
