"""The table in the engine's store through which a person's requests reach a run, and its answers.

Any machine that can open the store can ask; the run that holds it looks several times a second.
"""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import engine_store
from orchestrator.errors import MachineError
from orchestrator.runs import controls
from orchestrator.runs.controls import Control

TABLE = (
    "CREATE TABLE IF NOT EXISTS fibreflow_controls "
    "(id TEXT PRIMARY KEY, run TEXT NOT NULL, body TEXT NOT NULL, answer TEXT)"
)
_ASK = (
    "INSERT INTO fibreflow_controls (id, run, body) VALUES (:id, :run, :body) "
    "ON CONFLICT (id) DO NOTHING"
)
_OPEN = "SELECT body FROM fibreflow_controls WHERE run = :run AND answer IS NULL ORDER BY id"
_ANSWER = "UPDATE fibreflow_controls SET answer = :answer WHERE id = :id"
_ANSWERED = "SELECT answer FROM fibreflow_controls WHERE id = :id"


class ControlBook:
    """Requests to one run. Calls are short and block; use a thread where it matters.

    Raises `MachineError` when the store cannot be opened or does not answer.
    """

    def __init__(self, store: str | Path, run: str) -> None:
        """`store`: the file of the engine's store, or the URL of its Postgres database."""
        self._store = engine_store.open_store(store)
        self._name = engine_store.shown(store)
        self._run = run
        self._do(TABLE)

    def ask(self, control: Control) -> None:
        """Leave a request; asking again with the same id changes nothing."""
        body = json.dumps(controls.to_json(control))
        self._do(_ASK, id=control.id, run=self._run, body=body)

    def open(self) -> tuple[Control, ...]:
        """What nobody has answered yet, oldest first."""
        return tuple(controls.from_json(json.loads(row[0])) for row in self._rows(_OPEN))

    def answer(self, id_: str, text: str) -> None:
        self._do(_ANSWER, id=id_, answer=text)

    def answered(self, id_: str, *, seconds: float) -> str | None:
        """The answer, waited for so long; None when none came."""
        end = time.monotonic() + seconds
        while True:
            found = self._rows(_ANSWERED, id=id_)
            if found and found[0][0] is not None:
                return str(found[0][0])
            if time.monotonic() > end:
                return None
            time.sleep(0.1)

    def close(self) -> None:
        self._store.dispose()

    def _do(self, text: str, **values: str) -> None:
        import sqlalchemy as sa  # noqa: PLC0415 - late, for it costs start-up

        try:
            with self._store.begin() as connection:
                connection.execute(sa.text(text), values)
        except sa.exc.SQLAlchemyError as error:
            raise MachineError(
                f"{self._name}: the run cannot be reached ({getattr(error, 'orig', error)})"
            ) from error

    def _rows(self, text: str, **values: str) -> list[Any]:
        import sqlalchemy as sa  # noqa: PLC0415 - late, for it costs start-up

        try:
            with self._store.connect() as connection:
                return list(connection.execute(sa.text(text), {"run": self._run, **values}))
        except sa.exc.SQLAlchemyError as error:
            raise MachineError(
                f"{self._name}: the run cannot be reached ({getattr(error, 'orig', error)})"
            ) from error


def new_request(control: Control, token: str) -> Control:
    """The request with an id of its own, later ones behind earlier ones."""
    return replace(control, id=f"{time.time_ns():020d}-{token}")
