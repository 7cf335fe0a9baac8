"""Reads one word of a command line: a number, an amount, a duration, a reason.

Each raises `argparse.ArgumentTypeError` that says what the word should have been.
"""

import argparse
import math
from collections.abc import Callable


def reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; say why the data may be stale")
    return text.strip()


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


def _plain(text: str) -> str:
    """Python reads digits of every script and underlines between them; people slip on keys."""
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return text


def _amount(what: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    def amount(text: str) -> float:
        try:
            value = float(_plain(text))
        except ValueError:
            value = math.nan
        if not fits(value):  # as nothing fits nan
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return value

    return amount


hours = _amount("a number of hours above 0, up to a year", lambda value: 0 < value <= 366 * 24)
days = _amount("a number of days up to 366", lambda value: 0 < value <= 366)
minutes = _amount("a number of minutes up to a week", lambda value: 0 <= value <= 7 * 1440)
money = _amount("an amount of dollars above 0", lambda value: 0 < value < 1e9)
