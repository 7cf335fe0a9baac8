"""Runs commands inside of an E2B sandbox: limits, times and ends them, and keeps their output.

Nothing on the host imports it; its text is part of the template. It is started as root, runs the
command as another user, and survives a cut connection: what it says goes to a file as well, from
which `follow` says it again. Standard library only, any Python from 3.8.

    run JOB FROM    run JOB, which is JSON in base64, or @FILE (see harness/sandboxes/e2b/jobs.py);
                    when it has begun already: its output from byte FROM, live until it ends
    end ID          end the job ID and whatever it started; also before it has begun
    sweep UID       end everything that UID runs, and forget all jobs
    measure FOLDER  how much is in the folders: [kilobytes, files and folders]

Output, one record a line: `o DATA` and `e DATA` as it comes, while it is within the limit or when
the job is `live`; else `O` and `E` with the tail at the end; then `x JSON`. DATA is base64: the way
out is text only. A `plain` job says what its command says, and leaves with its exit status.
"""

# It must run where only an old Python is, so modern idiom is not asked of it.
# ruff: noqa: PTH100, PTH103, PTH104, PTH108, PTH110, PTH112, PTH118, PTH120, PTH123, PTH208, UP031, T201
# mypy: ignore-errors

import base64
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # `python -I` leaves it out
import inside_processes as processes
from inside_output import CHUNK, JOBS, Stream, Voice, place

LOOK_SECONDS = 0.1  # how often processes and memory are looked at
TIMED_OUT, CANNOT_START, NOT_FOUND = 124, 126, 127


class Run:
    def __init__(self, job):
        self.plain = job.get("plain", False)
        live = self.plain or job.get("live", False)
        self.job, self.voice = job, Voice(job["id"], self.plain)
        self.out = Stream("o", job["limit"], live, self.voice.data)
        self.err = Stream("e", job["limit"], live, self.voice.data)
        self.reason, self.timed_out, self.status = "", False, None
        self.ending = False
        self.started = time.monotonic()

    def go(self):
        signal.signal(signal.SIGTERM, self.end)
        processes.adopt_orphans()
        if not os.path.isdir(self.job["cwd"]):
            self.refuse(1, "no folder %s" % self.job["cwd"])
        elif not os.path.exists(place(self.job["id"], "ended")):
            child = self.start()
            if child is not None:
                self.watch(child)
        self.finish()

    def end(self, *_):
        self.ending = True

    def refuse(self, status, why):
        self.status = status
        self.err.feed((why + "\n").encode("utf-8", "replace"))

    def start(self):
        job = self.job
        kept = ("PIP_", "UV_", "NPM_") if self.plain else ()  # of a template's builder
        environment = {k: v for k, v in os.environ.items() if k.startswith(kept or "\0")}
        environment.update(job["env"])
        environment[processes.MARK] = job["id"]
        stdin, out = subprocess.DEVNULL, subprocess.PIPE
        if job.get("stdin"):
            stdin = os.open(job["stdin"], os.O_RDONLY)
        if job.get("out"):
            # Made by root where nobody else can write, so it is no link of the command's.
            out = os.open(job["out"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            return subprocess.Popen(
                job["argv"], cwd=job["cwd"], env=environment, stdin=stdin, stdout=out,
                stderr=subprocess.PIPE, start_new_session=True,
                preexec_fn=self.confine,  # noqa: PLW1509 - there is no other thread yet
            )  # fmt: skip
        except FileNotFoundError as error:
            self.refuse(NOT_FOUND, "cannot start the command: %s" % error)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self.refuse(CANNOT_START, "cannot start the command: %s" % error)
        finally:
            for opened in (stdin, out):
                if opened >= 0:
                    os.close(opened)
        return None

    def confine(self):
        """In the new process: the limits that the kernel holds, then another user, for good."""
        for name, value in self.job["rlimits"].items():
            kind = getattr(resource, "RLIMIT_" + name)
            hard = resource.getrlimit(kind)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (most, most))
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(self.job["uid"])
            os.setuid(self.job["uid"])
        processes.forbid_new_rights()

    def watch(self, child):
        chosen = selectors.DefaultSelector()
        for pipe, stream in ((child.stdout, self.out), (child.stderr, self.err)):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                chosen.register(pipe.fileno(), selectors.EVENT_READ, stream)
        deadline = self.started + self.job["timeout"]
        look, disk = time.monotonic() + LOOK_SECONDS, time.monotonic() + 1.0
        while self.status is None and not self.ending and not self.reason:
            now = time.monotonic()
            if now >= deadline:
                self.timed_out = True
                break
            self.read(chosen, min(deadline - now, 0.02))
            self.status = processes.reap().get(child.pid)
            if now >= look:
                self.reason = self.passed(now >= disk)
                disk = max(disk, now + 1.0) if now >= disk else disk
                look = time.monotonic() + LOOK_SECONDS
        status = self.end_all(child)
        self.status = self.status if self.status is not None else status
        end = time.monotonic() + 2.0
        while chosen.get_map() and time.monotonic() < end:
            self.read(chosen, 0.02)

    def read(self, chosen, seconds):
        if not chosen.get_map():
            time.sleep(min(seconds, 0.005))
            return
        for key, _ in chosen.select(seconds):
            try:
                data = os.read(key.fd, CHUNK)
            except BlockingIOError:
                continue
            if data:
                key.data.feed(data)
            else:
                chosen.unregister(key.fd)

    def end_all(self, child):
        """Kill whatever is left of the command; its exit status, when it had to be killed too."""
        status = -signal.SIGKILL if self.status is None else self.status
        processes.kill_all(self.prey)
        return processes.reap().get(child.pid, status)

    def prey(self):
        found = set(processes.below(os.getpid())) | set(processes.marked(self.job["id"]))
        if os.geteuid() == 0:
            found |= set(processes.of_user(self.job["uid"]))
        return found

    def passed(self, with_files):
        """The limit that has been passed, in words."""
        most = self.job["most"]
        pids = processes.below(os.getpid())
        used = {
            "processes": (len(pids), "%g processes"),
            "memory_mb": (sum(map(processes.resident_kb, pids)) / 1024, "%g MB of memory"),
            "cpu_seconds": (
                sum(map(processes.cpu_seconds, pids)) + processes.spent(),
                "%g s of processor time",
            ),
        }
        if with_files:
            kilobytes, count = processes.usage(self.job["written"])
            before = self.job["before"]
            used["disk_mb"] = ((kilobytes - before[0]) / 1024, "%g MB of files")
            used["inodes"] = (count - before[1], "%g files and folders")
        for name, (amount, words) in used.items():
            if most.get(name) is not None and amount > most[name]:
                return "over " + words % most[name]
        return ""

    def finish(self):
        if self.reason:
            self.err.feed(("\nkilled: %s\n" % self.reason).encode())
        self.out.end()
        self.err.end()
        status = self.status if self.status is not None else -signal.SIGKILL
        said = {
            "exit": TIMED_OUT if self.timed_out else status if status >= 0 else 128 - status,
            "timed_out": self.timed_out,
            "sizes": [self.out.size, self.err.size],
            "seconds": time.monotonic() - self.started,
        }
        self.voice.line(("x %s\n" % json.dumps(said)).encode())
        self.voice.close()
        if self.plain:
            why = "timed out" if self.timed_out else "exit status %d" % said["exit"]
            print("%s ended: %s" % (self.job["id"], why), flush=True)
            sys.exit(said["exit"])


def run(text, start):
    if text.startswith("@"):
        with open(text[1:], "rb") as file:
            job = json.loads(file.read())
    else:
        job = json.loads(base64.b64decode(text))
    os.makedirs(JOBS, mode=0o700, exist_ok=True)
    if os.path.exists(place(job["id"], "done")):
        follow(job["id"], start)
        return
    try:
        own = os.open(place(job["id"], "pid"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # the request was sent twice; the first one runs
        follow(job["id"], start)
        return
    os.write(own, str(os.getpid()).encode())
    os.close(own)
    forget(job["id"])
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-900")
    except OSError:  # then the command is as likely to be killed as its supervisor
        pass
    Run(job).go()


def forget(but):
    """End earlier jobs that nobody can wait for any more, for commands take turns, and remove
    their data. That they were is remembered."""
    for name in os.listdir(JOBS):
        job, _, kind = name.rpartition(".")
        if job == but or kind in ("done", "ended"):
            continue
        if kind == "pid":
            # A snapshot brings the numbers of another machine's processes, perhaps this one's.
            if owner(job) != os.getpid() and processes.alive(owner(job)):
                end(job)
            os.rename(place(job, "pid"), place(job, "done"))
        else:
            os.unlink(os.path.join(JOBS, name))


def follow(job, start):
    gone_since, position = None, start
    while True:
        try:
            with open(place(job, "log"), "rb") as file:
                file.seek(position)
                data = file.read(1 << 20)
        except FileNotFoundError:
            data = b""
        data = data[: data.rfind(b"\n") + 1]  # whole records only
        position += len(data)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        if b"\nx " in b"\n" + data:
            return
        if data or processes.alive(owner(job)):
            gone_since = None
        elif gone_since is None:
            gone_since = time.monotonic()
        elif time.monotonic() - gone_since > 1.0:
            sys.stdout.write('x {"lost": true}\n')
            return
        time.sleep(0.02)


def owner(job):
    """The pid of the job's supervisor; 0 when that has ended, though its number is in use."""
    try:
        with open(place(job, "pid")) as file:
            pid = int(file.read() or 0)
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            words = file.read().split(b"\0")
    except (OSError, ValueError):
        return 0
    return pid if b"run" in words and any(w.endswith(b"inside.py") for w in words) else 0


def end(job):
    os.makedirs(JOBS, mode=0o700, exist_ok=True)
    open(place(job, "ended"), "w").close()
    pid = owner(job)
    for sign, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        if not processes.alive(pid):
            break
        os.kill(pid, sign)
        until = time.monotonic() + patience
        while processes.alive(pid) and time.monotonic() < until:
            time.sleep(0.01)
    processes.kill_all(lambda: processes.marked(job))


def sweep(uid):
    if os.path.isdir(JOBS):
        for name in os.listdir(JOBS):
            if name.endswith(".pid"):
                end(name[:-4])
        for name in os.listdir(JOBS):
            os.unlink(os.path.join(JOBS, name))
    processes.kill_all(
        lambda: processes.marked(None) + (processes.of_user(uid) if os.geteuid() == 0 else [])
    )


if __name__ == "__main__":
    what, given = sys.argv[1], sys.argv[2:]
    if what == "run":
        run(given[0], int(given[1]))
    elif what == "end":
        end(given[0])
    elif what == "sweep":
        sweep(int(given[0]))
    else:
        print(json.dumps(processes.usage(given)))
