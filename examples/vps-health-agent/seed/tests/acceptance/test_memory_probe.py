"""vps_health.probes.memory: how much memory and swap is in use."""

import pytest


def test_a_reading(proc):
    from vps_health.probes import memory

    assert memory.read(proc.root) == {
        "total_bytes": 2000000 * 1024,
        "available_bytes": 1500000 * 1024,
        "used_bytes": 500000 * 1024,
        "used_percent": 25.0,
        "swap_total_bytes": 1000000 * 1024,
        "swap_used_bytes": 250000 * 1024,
        "swap_used_percent": 25.0,
    }


def test_percentages_have_one_decimal(proc):
    from vps_health.probes import memory

    proc.write("meminfo", "MemTotal: 3 kB\nMemAvailable: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
    assert memory.read(proc.root)["used_percent"] == 66.7


def test_no_swap_is_not_a_division_by_zero(proc):
    from vps_health.probes import memory

    proc.memory(used_percent=40)
    reading = memory.read(proc.root)
    assert reading["swap_total_bytes"] == 0
    assert reading["swap_used_percent"] == 0.0
    assert reading["used_percent"] == 40.0


def test_old_kernels_without_memavailable(proc):
    from vps_health.probes import memory

    proc.write("meminfo", "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 250 kB\n")
    reading = memory.read(proc.root)
    assert reading["available_bytes"] == 400 * 1024
    assert reading["used_percent"] == 60.0


@pytest.mark.parametrize("text", ["", "MemFree: 10 kB\n", "MemTotal: 0 kB\nMemFree: 0 kB\n"])
def test_without_a_total_there_is_no_reading(proc, text):
    from vps_health.probes import memory
    from vps_health.procfs import ProcfsError

    proc.write("meminfo", text)
    with pytest.raises(ProcfsError, match="MemTotal"):
        memory.read(proc.root)


def test_the_real_proc():
    from vps_health.probes import memory

    reading = memory.read()
    assert 0 < reading["used_bytes"] < reading["total_bytes"]
    assert 0 < reading["used_percent"] <= 100
