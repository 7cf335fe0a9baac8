"""Reads what a model said strictly: a tool call that was not said in full is never run."""

import json
from typing import Any

from orchestrator.errors import ModelMalformedError


def tool_call(call_id: Any, name: Any, given: str, *, cut_off: bool) -> dict[str, Any] | None:
    """The `tool_use` block with the input `given` as JSON text; None for one that the reply's
    length limit cut off (`cut_off`). Raises `ModelMalformedError`."""
    if not (isinstance(call_id, str) and isinstance(name, str) and name):
        raise ModelMalformedError("a tool call without an id or a name")
    try:
        parsed = json.loads(given)
    except (ValueError, RecursionError) as error:
        if cut_off:
            return None
        raise ModelMalformedError(
            f"the input of tool call {name} is not JSON ({error}): {given[:200]!r}"
        ) from error
    called = {"type": "tool_use", "id": call_id, "name": name}
    return {**called, "input": parsed if isinstance(parsed, dict) else {"input": parsed}}


#: Characters of a model's name, which is shown and kept with every call.
_NAME_CHARS = 200


def model_name(said: Any) -> str:
    """The name that a reply gives its model. Raises `ModelMalformedError` for what is none."""
    if isinstance(said, str) and said.isprintable() and len(said) <= _NAME_CHARS:
        return said
    raise ModelMalformedError(f"a reply of a model without a name: {said!r:.200}")
