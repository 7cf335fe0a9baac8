"""vps_health.probes.load: load averages, per processor, and uptime."""

import pytest


def test_a_reading(proc):
    from vps_health.probes import load

    assert load.read(proc.root) == {
        "load1": 0.5,
        "load5": 0.4,
        "load15": 0.3,
        "cpus": 2,
        "load1_per_cpu": 0.25,
        "uptime_seconds": 3661.25,
    }


def test_per_processor_has_two_decimals(proc):
    from vps_health.probes import load

    proc.write("loadavg", "1.00 9.00 9.00 3/100 4242\n")
    proc.write("stat", "cpu  1 1 1\ncpu0 1 1 1\ncpu1 1 1 1\ncpu2 1 1 1\nintr 5\n")
    assert load.read(proc.root)["load1_per_cpu"] == 0.33


def test_more_than_ten_processors(proc):
    from vps_health.probes import load

    lines = ["cpu  1 1 1", *(f"cpu{n} 1 1 1" for n in range(16)), "cpufreq 1"]
    proc.write("stat", "\n".join(lines) + "\n")
    assert load.read(proc.root)["cpus"] == 16


def test_at_least_one_processor(proc):
    from vps_health.probes import load

    proc.write("stat", "cpu  1 1 1\nintr 5\n")
    assert load.read(proc.root)["cpus"] == 1


@pytest.mark.parametrize("name", ["loadavg", "uptime"])
def test_nonsense_is_an_error_that_names_the_file(proc, name):
    from vps_health.probes import load
    from vps_health.procfs import ProcfsError

    proc.write(name, "what is this\n")
    with pytest.raises(ProcfsError, match=name):
        load.read(proc.root)


def test_the_real_proc():
    from vps_health.probes import load

    reading = load.read()
    assert reading["load1"] >= 0
    assert reading["cpus"] >= 1
    assert reading["uptime_seconds"] > 0
