"""Says how a Linux machine is: load, memory, disks, the largest processes."""

import os
import sys

PSEUDO = ("/proc", "/sys", "/dev", "/run", "/snap")


def memory():
    """Percent used of memory and of swap."""
    with open("/proc/meminfo") as file:
        lines = (line.split(":") for line in file)
        kb = {name: int(rest.split()[0]) for name, rest in lines}
    swap = kb.get("SwapTotal", 0)
    used = 100 * (1 - kb["MemAvailable"] / kb["MemTotal"])
    return round(used, 1), round(100 * (1 - kb.get("SwapFree", 0) / swap), 1) if swap else 0.0


def disks():
    """(mount point, percent used) of each file system, once."""
    seen, found = set(), []
    with open("/proc/mounts") as file:
        mounts = [line.split()[1] for line in file]
    for path in mounts:
        path = path.replace("\\040", " ")
        if path.startswith(PSEUDO) or not os.path.isdir(path):
            continue
        try:
            one, device = os.statvfs(path), os.stat(path).st_dev
        except OSError:
            continue
        if one.f_blocks and device not in seen:
            seen.add(device)
            found.append((path, round(100 * (1 - one.f_bavail / one.f_blocks), 1)))
    return found


def processes(count):
    """(MB resident, pid, name) of the largest."""
    found, page = [], os.sysconf("SC_PAGE_SIZE")
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                with open(f"/proc/{pid}/statm") as file:
                    pages = int(file.read().split()[1])
                found.append((pages, pid))
            except (OSError, IndexError):
                continue
    rows = []
    for pages, pid in sorted(found, reverse=True)[:count]:
        try:
            with open(f"/proc/{pid}/comm") as file:
                rows.append((round(pages * page / 1e6), int(pid), file.read().strip()))
        except OSError:
            continue
    return rows


def thresholds(words):
    """Raises ValueError for words that are none."""
    found, rest = {"--load": 2.0, "--memory": 90.0, "--disk": 90.0}, list(words)
    while rest:
        word = rest.pop(0)
        if word == "--json":
            continue
        if word not in found or not rest:
            raise ValueError(word)
        found[word] = float(rest.pop(0))
    return found


def main(words):
    try:
        limits = thresholds(words)
    except ValueError:
        print(
            "usage: run.py [--load N] [--memory PERCENT] [--disk PERCENT] [--json]", file=sys.stderr
        )
        return 2
    cpus, load = os.cpu_count() or 1, os.getloadavg()
    used, swap = memory()
    full = disks()
    found = {
        "cpus": cpus,
        "load": [round(one, 2) for one in load],
        "memory_percent": used,
        "swap_percent": swap,
        "disks": dict(full),
        "largest": processes(5),
        "alarms": [],
    }
    if load[1] / cpus > limits["--load"]:
        found["alarms"].append(f"load {load[1]:.1f} on {cpus} processors for 5 minutes")
    if used > limits["--memory"]:
        found["alarms"].append(f"memory {used}% used")
    found["alarms"] += [f"disk {p} {u}% full" for p, u in full if u > limits["--disk"]]
    if "--json" in words:
        import json

        print(json.dumps(found))
    else:
        print(
            f"load {load[0]:.2f} {load[1]:.2f} {load[2]:.2f} on {cpus} processors; "
            f"memory {used}%, swap {swap}%"
        )
        print("disks: " + ", ".join(f"{p} {u}%" for p, u in full))
        print("largest: " + ", ".join(f"{n} ({pid}) {mb} MB" for mb, pid, n in found["largest"]))
        print("\n".join(f"ALARM: {one}" for one in found["alarms"]) or "no alarm")
    return 1 if found["alarms"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
