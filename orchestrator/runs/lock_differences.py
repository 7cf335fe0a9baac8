"""Says in which inputs two runs differ, from what their lock files say."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: What names a run, not what it was given.
_NAMES = ("run", "version")
#: How far a feature list has come; the harness writes it itself.
_PROGRESS = ".passes"
_ABSENT = "(absent)"
#: Longer values are named, not shown.
_LONGEST = 60


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, ...]:
    """A line for every input that differs, such as `versions.python: 3.11.7 -> 3.12.1`.

    Features are told apart by their id, lists of anything else as a whole.
    """
    here, there = (
        dict(_leaves({k: v for k, v in lock.items() if k not in _NAMES})) for lock in (one, other)
    )
    return tuple(
        f"{path}: {_shown(here.get(path, _ABSENT))} -> {_shown(there.get(path, _ABSENT))}"
        for path in sorted({*here, *there})
        if here.get(path, _ABSENT) != there.get(path, _ABSENT) and not path.endswith(_PROGRESS)
    )


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Sequence) and not isinstance(value, str) and _by_id(value):
        value = {str(entry["id"]): entry for entry in value}
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _by_id(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(v, Mapping) and "id" in v for v in values)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
