"""Artifacts as objects in a bucket: S3 and whatever speaks like it, by `obstore`."""

from datetime import timedelta
from typing import Any

from obstore import get_async, head_async, put_async
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import S3Store

from harness.artifacts.naming import checked, name_of, place_of
from orchestrator.errors import MachineError

#: For one request with its retries.
_SECONDS = 60


class ObjectStore:
    """An `ArtifactStore` at `s3://BUCKET/PREFIX`. Who may, and where, is said in the environment:
    `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL` and the others
    that AWS's own tools know, or by the role of the machine."""

    def __init__(self, url: str, **options: Any) -> None:
        """`options` as those of `obstore.store.S3Store`, before the environment's."""
        self._url = url.rstrip("/")
        limit = timedelta(seconds=_SECONDS)
        try:
            self._store = S3Store.from_url(
                self._url, retry_config={"max_retries": 5, "retry_timeout": limit}, **options
            )
        except BaseError as error:
            raise MachineError(f"{url}: cannot be used as a store: {error}") from error

    async def put(self, data: bytes) -> str:
        name = name_of(data)
        try:
            # Who comes second is told so, and need not send it again.
            await put_async(self._store, place_of(name), data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            pass
        except BaseError as error:
            raise self._unusable(error) from error
        return name

    async def get(self, name: str) -> bytes:
        try:
            result = await get_async(self._store, place_of(name))
            data = bytes(await result.bytes_async())
        except (NotFoundError, FileNotFoundError):
            raise FileNotFoundError(f"{self._url} has no artifact {name}") from None
        except BaseError as error:
            raise self._unusable(error) from error
        return checked(name, data, self._url)

    async def has(self, name: str) -> bool:
        try:
            await head_async(self._store, place_of(name))
        except (NotFoundError, FileNotFoundError):
            return False
        except BaseError as error:
            raise self._unusable(error) from error
        return True

    def _unusable(self, error: Exception) -> MachineError:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return MachineError(
            f"{self._url}: cannot be used ({first[:300]}); is it there, and may you?"
        )
