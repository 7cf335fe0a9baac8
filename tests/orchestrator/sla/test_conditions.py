"""Conditions: what is read, and a hundred and more hostile texts that are refused at load."""

import pytest

from orchestrator.errors import SlaFileError
from orchestrator.sla import file as slas_file
from orchestrator.sla.conditions import check, holds

KNOWN = ("delay", "age", "count")

#: Each a way out of a comparison: objects, calls, strings, huge work, assignments, other grammar.
HOSTILE = (
    "__import__('os').system('id') > 0",
    "__import__('os')",
    "().__class__.__bases__[0].__subclasses__() > 0",
    "delay.__class__ > 0",
    "delay.real > 3",
    "delay.numerator > 3",
    "delay.bit_length() > 3",
    "delay.__class__.__mro__ > 0",
    "(delay).imag > 0",
    "1 .real > 0",
    "open('/etc/passwd').read() > 0",
    "eval('1') > 0",
    "exec('1') > 0",
    "compile('1','','eval') > 0",
    "globals() > 0",
    "locals() > 0",
    "vars() > 0",
    "dir() > 0",
    "getattr(delay, 'real') > 0",
    "setattr(delay, 'x', 1) > 0",
    "type(delay) > 0",
    "isinstance(delay, int) > 0",
    "print(delay) > 0",
    "input() > 0",
    "exit() > 0",
    "breakpoint() > 0",
    "help() > 0",
    "max(delay, 1) > 0",
    "min(delay, age) > 0",
    "abs(delay) > 0",
    "int(delay) > 0",
    "float('nan') > 0",
    "float('inf') > delay",
    "str(delay) > ''",
    "rand() > 0",
    "randint(3) > 0",
    "len(delay) > 0",
    "sum([delay]) > 0",
    "delay() > 0",
    "lambda: delay > 0",
    "(lambda: delay)() > 0",
    "(lambda x: x)(delay) > 0",
    "[x for x in (1, 2)] > 0",
    "{x for x in (1, 2)} > 0",
    "{x: x for x in (1, 2)} > 0",
    "(x for x in (1, 2)) > 0",
    "any(x > 1 for x in (1, 2))",
    "[delay] > 0",
    "(delay,) > 0",
    "{delay} > 0",
    "{'delay': delay} > 0",
    "delay[0] > 0",
    "delay[::] > 0",
    "'delay' > 0",
    "delay > '300'",
    "delay == 'a' * 1000000000",
    "b'x' > delay",
    "f'{delay}' > 0",
    "f'{delay.__class__}' > 0",
    "'%s' % delay > 0",
    "'{0.__class__}'.format(delay) > 0",
    "delay > None",
    "delay > ...",
    "delay > 1j",
    "delay is None",
    "delay is not 3",
    "delay in (1, 2)",
    "delay not in (1, 2)",
    "delay ** 99999 > 0",
    "9 ** 9 ** 9 ** 9 > delay",
    "delay << 99999999 > 0",
    "1 << 99999999999 > delay",
    "delay >> 1 > 0",
    "delay | 1 > 0",
    "delay & 1 > 0",
    "delay ^ 1 > 0",
    "~delay > 0",
    "delay // 1 > 0",
    "delay % 7 > 0",
    "delay @ age > 0",
    "+delay > 0",
    "delay if age else count",
    "1 if delay > 3 else 0",
    "(delay := 3) > 0",
    "delay = 3",
    "delay == 3; age == 3",
    "delay > 3\nage > 3",
    "import os",
    "del delay",
    "assert delay > 3",
    "return delay > 3",
    "yield delay",
    "(yield delay) > 0",
    "await delay > 0",
    "async def f(): pass",
    "def f(): pass",
    "class A: pass",
    "raise delay",
    "while True: pass",
    "for x in delay: pass",
    "with delay: pass",
    "*delay > 0",
    "print(*delay) > 0",
    "delay > 1e400",
    "delay > -1e400",
    "delay > " + "9" * 400,
    "delay > 9999999999999999",
    "delay > " + "+".join(["1"] * 300),
    "delay > " + "(" * 400 + "1" + ")" * 400,
    "not " * 300 + "delay > 1",
    "-" * 300 + "delay > 1",
    " and ".join(["delay > 1"] * 150),
    "delay > 3 # and then some" + "x" * 600,
    "delay > 3 or",
    "> 300",
    "delay >",
    "delay > > 3",
    "delay",
    "delay + 1",
    "-delay",
    "not delay",
    "delay and age",
    "delay > 3 or age",
    "True",
    "False",
    "1",
    "1 > 0",
    "True or True",
    "not (1 > 2)",
    "",
    "   ",
    "\0",
    "delay > 3\0",
    "delay\u00a0> 3 \u2028 x",
    "delay > 3 }} {{",
    "${delay} > 3",
    "$(id) > 3",
    "`id` > 3",
    "delay > 3 && id",
    "delay > 3 || id",
    "delay => 3",
    "!delay",
    "delay <> 3",
    "__builtins__ > 0",
    "__name__ > 0",
    "delay > 300 if __import__('os') else 0",
    "print > 0",
    "delay.__init__.__globals__ > 0",
    "delay > 3 (",
)


def test_there_are_more_than_a_hundred() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) > 100


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_condition_is_refused_at_load(text: str) -> None:
    """By the whole file, as a user would meet it; never evaluated to find out."""
    document = {"slas": dict.fromkeys(KNOWN, 300), "alerts": [{"condition": text}]}
    import json

    with pytest.raises(SlaFileError) as caught:
        slas_file.parse(json.dumps(document).encode("utf-8", "backslashreplace"), "slas.yaml")
    assert any("condition" in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("delay > 300", {"delay": 301.0}, True),
        ("delay > 300", {"delay": 300.0}, False),
        ("delay >= 300", {"delay": 300.0}, True),
        ("300 < delay", {"delay": 301.0}, True),
        ("10 < delay < 20", {"delay": 15.0}, True),
        ("10 < delay < 20", {"delay": 25.0}, False),
        ("delay != 0", {"delay": 0.0}, False),
        ("delay == 0 or age > 3", {"delay": 1.0, "age": 4.0}, True),
        ("not delay > 3", {"delay": 3.0}, True),
        ("not (delay > 3 and age > 3)", {"delay": 4.0, "age": 4.0}, False),
        ("delay / 60 > 5", {"delay": 301.0}, True),
        ("delay - age > -5", {"delay": 1.0, "age": 7.0}, False),
        ("delay * 2 + age > 10", {"delay": 4.0, "age": 3.0}, True),
        ("delay > 300", {"delay": None}, None),
        ("delay / age > 1", {"delay": 3.0, "age": 0.0}, None),
        ("  delay > 1  ", {"delay": 2.0}, True),
        ("delay > True", {"delay": 2.0}, True),
    ],
)
def test_what_is_read(text: str, values: dict[str, float | None], expected: bool | None) -> None:
    assert set(check(text, KNOWN)) == set(values)
    assert holds(text, values) is expected


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    text = b"slas: {neon_max_delay: 300}\nmetrics: {neon_sync_delay: neon_max_delay}\n"
    text += b"alerts:\n  - condition: neon_sync_dely > 3\n"
    with pytest.raises(SlaFileError, match=r'line 4.*did you mean "neon_sync_delay"'):
        slas_file.parse(text, "slas.yaml")
