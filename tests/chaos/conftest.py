"""The same projects as the tests of the spine, to be killed."""

from tests.spine.conftest import cache, make

__all__ = ["cache", "make"]
