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
SOCKET = {"x86_64": 41, "aarch64": 198}
PTRACE = {"x86_64": 101, "aarch64": 117}
WRITE_MEMORY = {"x86_64": 311, "aarch64": 271}
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


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_sockets_are_of_the_network_namespace_only(machine: str) -> None:
    own = {1: "unix", 2: "inet", 10: "inet6", 16: "netlink"}
    for family in range(50):  # 40 is AF_VSOCK, which knows no namespaces
        expected = ALLOW if family in own else 0x00050000 | errno.EAFNOSUPPORT
        assert verdict(machine, SOCKET[machine], family, 1) == expected


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_space_is_given_back_but_not_taken_at_once(machine: str) -> None:
    fallocate = {"x86_64": 285, "aarch64": 47}[machine]
    for mode in (0, 1, 0x10, 0x20):  # all there is that takes space
        assert verdict(machine, fallocate, 3, mode) == 0x00050000 | errno.EOPNOTSUPP
    assert verdict(machine, fallocate, 3, 2 | 1) == ALLOW  # punches a hole


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_who_tells_how_the_command_ended_is_not_meddled_with(machine: str) -> None:
    eperm = 0x00050000 | errno.EPERM
    assert verdict(machine, PTRACE[machine], 16, 1) == eperm  # PTRACE_ATTACH
    assert verdict(machine, PTRACE[machine], 0x4206, 1) == eperm  # PTRACE_SEIZE
    assert verdict(machine, PTRACE[machine], 16, 2) == ALLOW  # a debugger's
    assert verdict(machine, WRITE_MEMORY[machine], 1) == eperm
    assert verdict(machine, WRITE_MEMORY[machine], 2) == ALLOW


def test_the_x32_table_is_closed() -> None:
    assert verdict("x86_64", 0x40000000 | 1) == 0x00050000 | errno.ENOSYS


def test_an_unknown_machine_has_no_filter() -> None:
    assert program("vax") is None
