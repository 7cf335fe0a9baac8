"""The filter, interpreted as the kernel would."""

import errno
import struct

import pytest

from harness.sandboxes.seccomp import program

ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL = 0x7FFF0000, 0x80000000
CLONE = {"x86_64": 56, "aarch64": 220}
IOCTL = {"x86_64": 16, "aarch64": 29}
OPENAT = {"x86_64": 257, "aarch64": 56}
KEYCTL = {"x86_64": 250, "aarch64": 219}


def verdict(machine: str, number: int, *args: int, arch: int | None = None) -> int:
    code = program(machine)
    assert code is not None
    steps = list(struct.iter_unpack("HBBI", code))
    padded = [*args, *[0] * (6 - len(args))]
    data = struct.pack("<IIQ6Q", number, arch or ARCH[machine], 0, *padded)
    at, held = 0, 0
    while True:
        op, then, otherwise, value = steps[at]
        at += 1
        if op == 0x06:
            return value
        if op == 0x20:
            held = struct.unpack_from("<I", data, value)[0]
            continue
        met = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[op]
        at += then if met else otherwise


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_verdicts(machine: str) -> None:
    eperm = 0x00050000 | errno.EPERM
    assert verdict(machine, OPENAT[machine]) == ALLOW
    assert verdict(machine, KEYCTL[machine]) == eperm
    assert verdict(machine, 425) == eperm  # io_uring_setup
    assert verdict(machine, 435) == 0x00050000 | errno.ENOSYS  # clone3
    assert verdict(machine, CLONE[machine], 0x01200011) == ALLOW  # what fork asks for
    assert verdict(machine, CLONE[machine], 0x003D0F00) == ALLOW  # what a thread asks for
    for bit in (17, 25, 26, 27, 28, 29, 30):
        assert verdict(machine, CLONE[machine], 1 << bit) == eperm
    assert verdict(machine, IOCTL[machine], 1, 0x5401) == ALLOW
    assert verdict(machine, IOCTL[machine], 1, 0x5412) == eperm  # TIOCSTI
    assert verdict(machine, IOCTL[machine], 1, 0x541C) == eperm  # TIOCLINUX
    assert verdict(machine, OPENAT[machine], arch=0x40000003) == KILL  # 32-bit entry


def test_the_x32_table_is_closed() -> None:
    assert verdict("x86_64", 0x40000000 | 1) == 0x00050000 | errno.ENOSYS


def test_an_unknown_machine_has_no_filter() -> None:
    assert program("vax") is None
