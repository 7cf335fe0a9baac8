"""A `Checker` for tests in which nothing is verified."""

from typing import NoReturn


class Unasked:
    """Whoever asks it has verified where nothing was to be verified."""

    async def base(self, base: object) -> NoReturn:
        raise AssertionError("no base is looked at here")

    async def patch(self, key: object, feature: object, base: object, patch: bytes) -> NoReturn:
        raise AssertionError("no patch is verified here")

    async def tree(self, winner: object, commit: str, parent: str) -> NoReturn:
        raise AssertionError("nothing is merged here")

    async def across(
        self, key: object, feature: object, base: object, rivals: object, *, spent: float
    ) -> NoReturn:
        raise AssertionError("nothing is compared here")
