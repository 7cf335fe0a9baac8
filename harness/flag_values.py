"""Reads one word of a command line: a number, an amount, a duration, a reason.

Each raises `argparse.ArgumentTypeError` that says what the word should have been.
"""

import argparse
from collections.abc import Callable


def days(text: str) -> float:
    try:
        value = float(_plain(text))
    except ValueError:
        value = -1.0
    if not 0 < value <= 366:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days up to 366")
    return value


def minutes(text: str) -> float:
    try:
        value = float(_plain(text))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 7 * 1440:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes up to a week")
    return value


def reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; say why the data may be stale")
    return text.strip()


def _plain(text: str) -> str:
    """Python reads digits of every script and underlines between them; people slip on keys."""
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return text


def number(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        try:
            value = int(_plain(text))
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return value

    return number


def money(text: str) -> float:
    try:
        value = float(_plain(text))
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:  # also refuses nan and inf
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of dollars above 0")
    return value
