"""Runs as `sitecustomize` in the programs that tests start: keeps which lines they ran.

Nothing on the host imports it. Its text is put beside the driver's, in the folder that is first on
the path of every Python that the tests start, for one run that is asked for nothing else.
"""

# It must run where only an old Python is, so modern idiom is not asked of it.
# ruff: noqa: BLE001, PLC0415, PTH100, PTH118, PTH120, PTH123, S110, SIM105
# mypy: ignore-errors

import os
import sys

OWN = os.path.dirname(os.path.abspath(__file__))


def measure():
    import atexit
    import json

    import coverage

    with open(os.path.join(OWN, "measured.json")) as file:
        files = json.load(file)
    tracer = coverage.Coverage(
        data_file=os.path.join(OWN, "lines", "of"),
        data_suffix=True,
        config_file=False,
        include=files,
    )
    tracer.set_option("run:sigterm", True)
    # What a program writes to its standard error may be what is tested.
    tracer.set_option("run:disable_warnings", ["no-data-collected", "no-ctracer", "no-sysmon"])
    tracer.start()

    def keep():
        tracer.stop()
        tracer.save()

    atexit.register(keep)


def pass_on():
    """This one stands before a `sitecustomize` of the machine's or the project's own."""
    from importlib import machinery, util

    path = [p for p in sys.path if os.path.abspath(p) != OWN]
    spec = machinery.PathFinder.find_spec("sitecustomize", path)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(util.module_from_spec(spec))


try:
    measure()
except Exception:  # no coverage in this Python, or an old one: then it is not measured
    pass
pass_on()
