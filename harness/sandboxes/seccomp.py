"""The system calls a sandbox may not make, as a classic BPF program for `bwrap --seccomp`.

A deny-list: everything a compiler, interpreter or test runner needs stays allowed, and what
has no business in a workspace (kernel keyrings, io_uring, bpf, mounts, new namespaces) fails
with EPERM. Of sockets only the kinds that a network namespace parts are had: others, such as
AF_VSOCK, would meet those of other sandboxes, of the machine, or of what the machine runs on.
Numbers are those of the kernel's syscall tables for x86_64 and aarch64.
"""

import errno
import functools
import platform
import struct
from collections.abc import Mapping

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

#: name -> (x86_64, aarch64). The same number on both from 424 on.
_DENIED = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "delete_module": (176, 106),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setns": (308, 268),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_IOCTL = {"x86_64": 16, "aarch64": 29}
_SOCKET = {"x86_64": 41, "aarch64": 198}
#: AF_UNIX, INET, INET6 and NETLINK, by which the C library lists network interfaces.
_FAMILIES = (1, 2, 10, 16)
#: ptrace and process_vm_writev, and which of their arguments is a process: not PID 1, which tells
#: how the command ended, and which a tracer could leave stopped for ever.
_MEDDLING: tuple[tuple[Mapping[str, int], int], ...] = (
    ({"x86_64": 101, "aarch64": 117}, 1),
    ({"x86_64": 311, "aarch64": 271}, 0),
)
_FALLOCATE = {"x86_64": 285, "aarch64": 47}
_PUNCH_HOLE = 2
_CLONE3 = 435
_X32_BIT = 0x40000000

#: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
_NEW_NAMESPACES = 0x7E020000
#: Pushes characters into a terminal's input; TIOCLINUX does the same on a console.
_TERMINAL_INJECTION = (0x5412, 0x541C)

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _ARGS = 0, 4, (16, 24)  # offsets in struct seccomp_data, low halves


def _op(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("HBBI", code, then, otherwise, value)


def _fail(number: int) -> bytes:
    return _op(_RETURN, _ERRNO | number)


@functools.cache
def program(machine: str | None = None) -> bytes | None:
    """The filter for `machine` (default: this one); None where no table is known for it."""
    machine = machine or platform.machine()
    if machine not in _AUDIT_ARCH:
        return None
    column = 0 if machine == "x86_64" else 1
    parts = [
        _op(_LOAD, _ARCH),
        _op(_EQUAL, _AUDIT_ARCH[machine], then=1),
        _op(_RETURN, _KILL),
        _op(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":  # the x32 table would let every number in by another name
        parts += [_op(_AT_LEAST, _X32_BIT, otherwise=1), _fail(errno.ENOSYS)]
    for numbers in _DENIED.values():
        parts += [_op(_EQUAL, numbers[column], otherwise=1), _fail(errno.EPERM)]
    # clone3 hides its flags behind a pointer; ENOSYS makes the C library fall back to clone.
    parts += [_op(_EQUAL, _CLONE3, otherwise=1), _fail(errno.ENOSYS)]
    parts += _call(_CLONE[machine], 0, [_op(_ANY_BIT, _NEW_NAMESPACES, otherwise=1),
                                        _fail(errno.EPERM)])  # fmt: skip
    parts += _call(_IOCTL[machine], 1, _refusing(_TERMINAL_INJECTION))
    for calls, argument in _MEDDLING:
        parts += _call(calls[machine], argument, _refusing((1,)))
    # Gigabytes in a millisecond, long before a watch can see them. Many file systems have no such
    # call, and the C library then writes instead.
    takes_space = [_op(_ANY_BIT, _PUNCH_HOLE, then=1), _fail(errno.EOPNOTSUPP)]
    parts += _call(_FALLOCATE[machine], 1, takes_space)
    known = [_op(_EQUAL, family, then=len(_FAMILIES) - n) for n, family in enumerate(_FAMILIES)]
    parts += _call(_SOCKET[machine], 0, [*known, _fail(errno.EAFNOSUPPORT)])
    return b"".join([*parts, _op(_RETURN, _ALLOW)])


def _call(number: int, argument: int, test: list[bytes]) -> list[bytes]:
    """For this system call, `test` on an argument, which fails it or goes on behind itself."""
    load = [_op(_LOAD, _ARGS[argument]), *test, _op(_LOAD, _NUMBER)]
    return [_op(_EQUAL, number, otherwise=len(load)), *load]


def _refusing(values: tuple[int, ...]) -> list[bytes]:
    """Fail where what is loaded is one of these."""
    return [op for value in values for op in (_op(_EQUAL, value, otherwise=1), _fail(errno.EPERM))]
