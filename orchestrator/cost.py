"""Decides about money: sums of costs that may be unknown, and whether a reservation fits.

Money inside is whole nano-dollars, so that sums are exact; dollars are floats at the edges.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NANO = 1_000_000_000


def nano_up(usd: float) -> int:
    """Nano-dollars of something spent or reserved, never less than it is."""
    return math.ceil(round(usd * NANO, 3))


def nano_down(usd: float) -> int:
    """Nano-dollars of a cap, never more than it is."""
    return math.floor(round(usd * NANO, 3))


def usd(nano: int) -> float:
    return nano / NANO


def total(costs: Iterable[float | None]) -> float | None:
    """The sum in dollars; None as soon as one of them is unknown, for unknown is never zero."""
    summed = 0.0
    for cost in costs:
        if cost is None:
            return None
        summed += cost
    return summed


@dataclass(frozen=True, slots=True)
class Balance:
    """One scope's book in nano-dollars. `cap` None is no cap.

    `spent` is known; `unknown` was reserved for calls whose cost nobody will ever tell;
    `held` is reserved for calls in flight and becomes one of the other two.
    """

    scope: str
    cap: int | None
    spent: int = 0
    unknown: int = 0
    held: int = 0


#: The share of a cap from which on people are warned.
LOW = 0.8


def is_low(balance: Balance, cap: int) -> bool:
    """Whether most of a cap is spent or lost to calls of unknown cost; what calls in flight hold
    may come back."""
    return balance.spent + balance.unknown >= LOW * cap


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a reservation was refused. `temporary`: it will fit if calls in flight end cheaply."""

    scope: str
    reason: str
    temporary: bool


def refusal(balances: Sequence[Balance], amount: int | None) -> Refusal | None:
    """None when `amount` nano-dollars fit under every cap; the first hard refusal otherwise.

    An unknown amount fits nowhere but where nothing is capped.
    """
    found: Refusal | None = None
    for balance in balances:
        one = _refusal(balance, amount)
        if one is not None and (found is None or (found.temporary and not one.temporary)):
            found = one
    return found


def _refusal(balance: Balance, amount: int | None) -> Refusal | None:
    if balance.cap is None:
        return None
    name, cap = balance.scope, usd(balance.cap)
    if amount is None:
        reason = (
            f"{name} has a budget of ${_cap(cap)}, but the price of the model is unknown: "
            "use a model with a known price or drop the budget"
        )
        return Refusal(name, reason, temporary=False)
    certain = balance.spent + balance.unknown + amount
    if certain + balance.held <= balance.cap:
        return None
    reason = (
        f"the budget of {name} is used up: the next call may cost ${usd(amount):.4f}, and of "
        f"${_cap(cap)} are ${usd(balance.spent):.4f} spent, ${usd(balance.unknown):.4f} reserved "
        f"for calls of unknown cost, ${usd(balance.held):.4f} reserved for calls in flight"
    )
    return Refusal(name, reason, temporary=certain <= balance.cap)


def _cap(cap: float) -> str:
    """A cap in dollars; a small one is not rounded to nothing."""
    return f"{cap:.2f}" if cap >= 0.01 else f"{cap:.4f}"
