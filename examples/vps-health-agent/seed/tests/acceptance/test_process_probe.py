"""vps_health.probes.processes: how many there are, in which state, and the largest ones."""


def test_states_are_counted(proc):
    from vps_health.probes import processes

    for pid, state in enumerate("SSDIRZTt", start=10):
        proc.process(pid, "job", state)
    reading = processes.read(proc.root)
    counts = {k: v for k, v in reading.items() if k != "top"}
    assert counts == {"total": 9, "running": 1, "sleeping": 5, "zombies": 1, "other": 2}


def test_the_largest_first(proc):
    from vps_health.probes import processes

    proc.process(30, "small", "S", rss_pages=5)
    proc.process(20, "large", "S", rss_pages=900)
    proc.process(10, "same", "S", rss_pages=5)
    top = processes.read(proc.root, top=3, page_size=4096)["top"]
    assert top == [
        {"pid": 20, "name": "large", "rss_bytes": 900 * 4096},
        {"pid": 1, "name": "init", "rss_bytes": 100 * 4096},
        {"pid": 10, "name": "same", "rss_bytes": 5 * 4096},
    ]


def test_names_with_spaces_and_parentheses(proc):
    from vps_health.probes import processes

    proc.process(7, "tmux: server", "S", rss_pages=300)
    proc.process(8, "(sd-pam)", "R", rss_pages=200)
    proc.process(9, "a) Z (b", "S", rss_pages=150)
    reading = processes.read(proc.root, top=3, page_size=1000)
    assert reading["top"] == [
        {"pid": 7, "name": "tmux: server", "rss_bytes": 300_000},
        {"pid": 8, "name": "(sd-pam)", "rss_bytes": 200_000},
        {"pid": 9, "name": "a) Z (b", "rss_bytes": 150_000},
    ]
    assert (reading["running"], reading["sleeping"], reading["zombies"]) == (1, 3, 0)


def test_a_process_that_ended_meanwhile_is_not_counted(proc):
    from vps_health.probes import processes

    (proc.root / "555").mkdir()
    proc.write("556/stat", "")
    assert processes.read(proc.root)["total"] == 1


def test_top_is_limited(proc):
    from vps_health.probes import processes

    for pid in range(100, 120):
        proc.process(pid, "worker", "S", rss_pages=pid)
    assert [p["pid"] for p in processes.read(proc.root)["top"]] == [119, 118, 117, 116, 115]
    assert processes.read(proc.root, top=0)["top"] == []


def test_the_real_proc():
    from vps_health.probes import processes

    reading = processes.read()
    assert reading["total"] >= 1
    states = ("running", "sleeping", "zombies", "other")
    assert sum(reading[s] for s in states) == reading["total"]
    assert reading["top"][0]["rss_bytes"] > 0
