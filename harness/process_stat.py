"""Reads what the kernel says of one process (`/proc/PID/stat`, Linux)."""

from pathlib import Path


def fields(pid: int) -> list[str]:
    """The fields behind the name, which may hold anything: from 0 the state (`R`, `S`, `T`, `Z`
    and so on), the parent, the group and the session; see proc_pid_stat(5). Raises `OSError`
    where there is no such process, or none may be seen."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()
