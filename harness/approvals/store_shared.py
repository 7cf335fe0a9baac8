"""Requests for approval and their answers on the Postgres of a fleet; the same rules and words."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.approvals.store import TABLES, ApprovalStore, T
from harness.database import Database, Marked
from harness.ports import Clock

if TYPE_CHECKING:
    from sqlalchemy import Connection


class SharedApprovals(ApprovalStore):
    """An `ApprovalStore` whose tables are those of one workspace in a database of many. Raises
    `MachineError` when it cannot be reached."""

    def __init__(self, url: str, workspace: Path, clock: Clock) -> None:
        super().__init__(workspace, clock)
        digest = hashlib.sha256(str(workspace).encode()).hexdigest()[:12]
        self._schema = f"fibreflow_approvals_{digest}"
        tables = [text for text in TABLES.split(";") if text.strip()]
        made = f"CREATE SCHEMA IF NOT EXISTS {self._schema}"
        self._use = f"SET LOCAL search_path TO {self._schema}"
        self._database = Database(url, [made, self._use, *tables])

    def _is_there(self) -> bool:
        return True

    def _do(self, work: Callable[[Any], T]) -> T:
        def done(connection: "Connection") -> T:
            connection.exec_driver_sql(self._use)
            return work(Marked(connection))

        return self._database.run(done)
