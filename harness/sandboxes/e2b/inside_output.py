"""What a command in an E2B sandbox says: passed on while it fits, and kept to be said again.

A part of `inside.py`, beside which it lies in the template.
"""

# It must run where only an old Python is, so modern idiom is not asked of it.
# ruff: noqa: PTH100, PTH118, PTH119, PTH120, PTH123, UP031
# mypy: ignore-errors

import base64
import os
import queue
import threading
import time

JOBS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jobs")
CHUNK = 49152
MOST_KEPT = 256 << 20  # bytes of output of one command that can be said again
MOST_WAITING = 64  # records that a slow reader may be behind


def place(job, kind):
    return os.path.join(JOBS, "%s.%s" % (os.path.basename(job), kind))


class Stream:
    """One stream: said as it comes while within `limit`, its tail kept afterwards."""

    def __init__(self, letter, limit, live, say):
        self.letter, self.limit, self.live, self.say = letter, limit, live, say
        self.size, self.tail = 0, bytearray()

    def feed(self, data):
        room = len(data) if self.live else max(self.limit - self.size, 0)
        self.size += len(data)
        if room:
            self.say(self.letter, data[:room])
        if self.live:
            return
        self.tail += data
        if len(self.tail) > 2 * self.limit + 65536:
            del self.tail[: len(self.tail) - self.limit]

    def end(self):
        if self.size > self.limit and not self.live:
            tail = bytes(self.tail[max(len(self.tail) - self.limit, 0) :])
            for at in range(0, len(tail), CHUNK):
                self.say(self.letter.upper(), tail[at : at + CHUNK])


class Voice:
    """Says records to a file and to standard output; a reader that is away holds nothing up."""

    def __init__(self, job, plain):
        self.file = open(place(job, "log"), "ab", buffering=0)  # noqa: SIM115 - closed by close()
        self.plain, self.kept, self.heard = plain, 0, True
        self.waiting = queue.Queue(MOST_WAITING)
        self.thread = None

    def data(self, letter, data):
        if self.plain:
            os.write(1, data)
        else:
            self.line(letter.encode() + b" " + base64.b64encode(data) + b"\n")

    def line(self, line):
        if self.thread is None:  # not before the command was forked: threads are not copied
            self.thread = threading.Thread(target=self.speak, daemon=True)
            self.thread.start()
        self.kept += len(line)
        if self.kept <= MOST_KEPT:
            self.file.write(line)
        end = time.monotonic() + 30.0
        while self.heard and not self.plain and time.monotonic() < end:
            try:
                self.waiting.put(line, timeout=0.5)
                return
            except queue.Full:
                continue
        self.heard = False  # the file has it all

    def speak(self):
        while True:
            line = self.waiting.get()
            if line is None:
                return
            try:
                while line:
                    line = line[os.write(1, line) :]
            except OSError:
                self.heard = False

    def close(self):
        if self.heard:
            self.waiting.put(None)
            self.thread.join(60)  # the last record has been said, so there is one
        self.file.close()
