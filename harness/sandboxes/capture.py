"""What is kept of a command's output: head and tail of a stream that may be endless."""


class Capture:
    """Keeps at most `limit` bytes of one stream, however much is fed to it."""

    #: Room for the note between head and tail.
    NOTE = 64

    def __init__(self, limit: int) -> None:
        self._limit = max(limit, 0)
        self._head_size = max(self._limit - self.NOTE, 0) // 2
        self._tail_size = max(self._limit - self.NOTE - self._head_size, 0)
        self._kept = bytearray()  # everything while it fits, the head afterwards
        self._tail = bytearray()
        self.size = 0

    @property
    def truncated(self) -> bool:
        return self.size > self._limit

    def feed(self, data: bytes) -> None:
        before = self.size
        self.size += len(data)
        if not self.truncated:
            self._kept += data
            return
        if before <= self._limit:  # the first byte too many: split what was kept so far
            self._tail = self._kept[self._head_size :]
            del self._kept[self._head_size :]
            missing = self._head_size - len(self._kept)
            self._kept += data[:missing]
            data = data[missing:]
        self._tail += data
        # Trimmed rarely, not at each chunk: moving the tail costs its whole length.
        if len(self._tail) > 2 * self._tail_size + 65536:
            self._trim()

    def value(self) -> bytes:
        """At most `limit` bytes; where something was left out, a note says how much."""
        if not self.truncated:
            return bytes(self._kept)
        self._trim()
        left_out = self.size - len(self._kept) - len(self._tail)
        note = f"\n[... {left_out} bytes left out ...]\n".encode()[: self.NOTE]
        return (bytes(self._kept) + note + bytes(self._tail))[: self._limit]

    def _trim(self) -> None:
        excess = len(self._tail) - self._tail_size
        if excess > 0:
            del self._tail[:excess]
