"""vps_health.procfs: text below a proc folder, sizes in bytes, process ids."""

import pytest


def test_sizes_are_bytes():
    from vps_health.procfs import sizes

    assert sizes("MemTotal:     2048 kB\nMemFree: 1 kB\n") == {"MemTotal": 2097152, "MemFree": 1024}


def test_counts_without_a_unit_stay_as_they_are():
    from vps_health.procfs import sizes

    assert sizes("HugePages_Total:       3\n") == {"HugePages_Total": 3}


def test_names_are_kept_whole():
    from vps_health.procfs import sizes

    assert sizes("Active(anon):    2 kB\n") == {"Active(anon)": 2048}


def test_lines_that_are_not_sizes_are_skipped():
    from vps_health.procfs import sizes

    assert sizes("\nName:\tpython3\nnonsense\nEmpty:\nGood: 4 kB\n") == {"Good": 4096}


def test_read_text_joins_the_parts(proc):
    from vps_health.procfs import read_text

    assert read_text(proc.root, "sys", "kernel", "hostname") == "web-1\n"
    assert read_text(str(proc.root), "uptime") == "3661.25 7000.00\n"


def test_a_missing_file_is_named_in_the_error(proc):
    from vps_health.procfs import ProcfsError, read_text

    with pytest.raises(ProcfsError, match="no-such-file"):
        read_text(proc.root, "no-such-file")


def test_bytes_that_are_not_utf8_do_not_stop_the_reader(proc):
    from vps_health.procfs import read_text

    (proc.root / "odd").write_bytes(b"abc \xff def\n")
    text = read_text(proc.root, "odd")
    assert text.startswith("abc ")
    assert text.endswith(" def\n")


def test_pids_in_numeric_order(proc):
    from vps_health.procfs import pids

    for pid in (100, 20, 3):
        proc.process(pid, "x", "S")
    (proc.root / "self").mkdir()
    proc.write("42", "a file, not a process")
    assert pids(proc.root) == [1, 3, 20, 100]


def test_pids_of_a_missing_folder(tmp_path):
    from vps_health.procfs import ProcfsError, pids

    with pytest.raises(ProcfsError, match="nowhere"):
        pids(tmp_path / "nowhere")


def test_the_real_proc():
    from vps_health.procfs import pids, read_text, sizes

    assert sizes(read_text("/proc", "meminfo"))["MemTotal"] > 2**20
    assert pids("/proc")
