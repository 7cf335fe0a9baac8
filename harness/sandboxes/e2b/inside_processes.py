"""What runs inside of an E2B sandbox and what it uses, read from /proc; and how to end it.

A part of `inside.py`, beside which it lies in the template.
"""

# It must run where only an old Python is, so modern idiom is not asked of it.
# ruff: noqa: PTH123, PTH208, UP031
# mypy: ignore-errors

import contextlib
import ctypes
import os
import resource
import signal
import time

MARK = "FIBREFLOW_JOB"
PAGE_KB = resource.getpagesize() // 1024


def adopt_orphans():
    """Become the parent of every descendant whose own parent ends (PR_SET_CHILD_SUBREAPER)."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def forbid_new_rights():
    """No program gives more rights than it was started with (PR_SET_NO_NEW_PRIVS): no sudo."""
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)


def seen():
    """pid -> (parent, state), of all that can be seen."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, errors="replace") as file:
                    state, parent = file.read().rpartition(")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            found[int(name)] = (int(parent), state)
    return found


def alive(pid):
    return pid > 0 and seen().get(pid, (0, "X"))[1] not in "ZX"


def below(root):
    """Every living descendant of `root`; orphans are among them, because `root` adopts them."""
    known = seen()
    children = {}
    for pid, (parent, _) in known.items():
        children.setdefault(parent, []).append(pid)
    found, waiting = [], [root]
    while waiting:
        kids = children.get(waiting.pop(), [])
        waiting += kids
        found += [pid for pid in kids if known[pid][1] not in "ZX"]
    return found


def of_user(uid):
    """Living processes of an untrusted user: nothing else may run as it."""
    found = []
    for pid, (_, state) in seen().items():
        try:
            with open("/proc/%d/status" % pid, errors="replace") as file:
                owners = next(line for line in file if line.startswith("Uid:")).split()[1:]
        except (OSError, StopIteration):
            continue
        if state not in "ZX" and str(uid) in owners:
            found.append(pid)
    return found


def marked(job):
    """Living processes that carry the mark of `job`, or of any job."""
    mark = ("%s=%s" % (MARK, job or "")).encode()
    found = []
    for pid, (_, state) in seen().items():
        try:
            with open("/proc/%d/environ" % pid, "rb") as file:
                if mark in file.read() and state not in "ZX" and pid != os.getpid():
                    found.append(pid)
        except OSError:
            continue
    return found


def kill_all(prey):
    """Kill what `prey()` names until it names nothing."""
    for _ in range(200):
        pids = [pid for pid in prey() if pid not in (os.getpid(), 1)]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        reap()
        time.sleep(0.005)


def reap():
    """Take the exit status of every child that has ended: pid -> status."""
    found = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found[pid] = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


# ------------------------------------------------------------------------ use


def resident_kb(pid):
    try:
        with open("/proc/%d/statm" % pid) as file:
            return int(file.read().split()[1]) * PAGE_KB
    except (OSError, IndexError, ValueError):
        return 0


def cpu_seconds(pid):
    try:
        with open("/proc/%d/stat" % pid, errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return 0


def spent():
    """Processor seconds of orphans that have ended here."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def usage(folders):
    blocks, count, waiting = 0, 0, list(folders)
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    try:
                        blocks += entry.stat(follow_symlinks=False).st_blocks
                        count += 1
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                    except OSError:
                        continue
        except OSError:
            continue
    return [blocks // 2, count]
