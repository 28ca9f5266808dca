"""The system call filter: a classic BPF program, assembled here, that bubblewrap loads before it starts the command.

A compiler needs files, memory, threads and children. What is refused is what widens the kernel's surface (namespaces,
mounts, BPF, io_uring, performance counters), what reaches other processes or keys, what reaches a network (namespaces
do not cover AF_VSOCK), and memory that no limit counts (memfd, System V). Refusals are EPERM so that a log shows them;
another architecture's calls kill the process. Layout: linux/seccomp.h, linux/filter.h.
"""

import platform
import struct
from dataclasses import dataclass

from build_farm.sandbox.spec import SandboxUnavailable

_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_JUMP_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_ALLOW = 0x7FFF0000
_KILL_PROCESS = 0x80000000
_EPERM = 0x00050000 | 1
_ENOSYS = 0x00050000 | 38

_NUMBER, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24  # offsets in struct seccomp_data, little endian: low words
_X32_BIT = 0x40000000
# NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_NEW_NAMESPACE = 0x20000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX

# Numbers above 423 are the same on every architecture.
_DENIED_EVERYWHERE = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "memfd_secret": 447,
    "set_mempolicy_home_node": 450,
    "statmount": 457,
    "listmount": 458,
}

_DENIED_X86_64 = {
    "shmget": 29,
    "shmat": 30,
    "shmctl": 31,
    "socket": 41,
    "connect": 42,
    "accept": 43,
    "sendto": 44,
    "recvfrom": 45,
    "sendmsg": 46,
    "recvmsg": 47,
    "bind": 49,
    "listen": 50,
    "socketpair": 53,
    "semget": 64,
    "msgget": 68,
    "ptrace": 101,
    "syslog": 103,
    "uselib": 134,
    "personality": 135,
    "sysfs": 139,
    "vhangup": 153,
    "modify_ldt": 154,
    "pivot_root": 155,
    "_sysctl": 156,
    "adjtimex": 159,
    "chroot": 161,
    "acct": 163,
    "settimeofday": 164,
    "mount": 165,
    "umount2": 166,
    "swapon": 167,
    "swapoff": 168,
    "reboot": 169,
    "sethostname": 170,
    "setdomainname": 171,
    "iopl": 172,
    "ioperm": 173,
    "create_module": 174,
    "init_module": 175,
    "delete_module": 176,
    "get_kernel_syms": 177,
    "query_module": 178,
    "quotactl": 179,
    "nfsservctl": 180,
    "lookup_dcookie": 212,
    "remap_file_pages": 216,
    "clock_settime": 227,
    "mbind": 237,
    "set_mempolicy": 238,
    "get_mempolicy": 239,
    "mq_open": 240,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "migrate_pages": 256,
    "unshare": 272,
    "move_pages": 279,
    "vmsplice": 278,
    "accept4": 288,
    "perf_event_open": 298,
    "recvmmsg": 299,
    "fanotify_init": 300,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "clock_adjtime": 305,
    "sendmmsg": 307,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "kcmp": 312,
    "finit_module": 313,
    "memfd_create": 319,
    "kexec_file_load": 320,
    "bpf": 321,
    "userfaultfd": 323,
}

_DENIED_AARCH64 = {
    "lookup_dcookie": 18,
    "umount2": 39,
    "mount": 40,
    "pivot_root": 41,
    "nfsservctl": 42,
    "chroot": 51,
    "vhangup": 58,
    "quotactl": 60,
    "vmsplice": 75,
    "acct": 89,
    "personality": 92,
    "unshare": 97,
    "kexec_load": 104,
    "init_module": 105,
    "delete_module": 106,
    "clock_settime": 112,
    "syslog": 116,
    "ptrace": 117,
    "reboot": 142,
    "sethostname": 161,
    "setdomainname": 162,
    "settimeofday": 170,
    "adjtimex": 171,
    "mq_open": 180,
    "msgget": 186,
    "semget": 190,
    "shmget": 194,
    "shmctl": 195,
    "shmat": 196,
    "socket": 198,
    "socketpair": 199,
    "bind": 200,
    "listen": 201,
    "accept": 202,
    "connect": 203,
    "sendto": 206,
    "recvfrom": 207,
    "sendmsg": 211,
    "recvmsg": 212,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "swapon": 224,
    "swapoff": 225,
    "remap_file_pages": 234,
    "mbind": 235,
    "get_mempolicy": 236,
    "set_mempolicy": 237,
    "migrate_pages": 238,
    "move_pages": 239,
    "perf_event_open": 241,
    "accept4": 242,
    "recvmmsg": 243,
    "fanotify_init": 262,
    "name_to_handle_at": 264,
    "open_by_handle_at": 265,
    "clock_adjtime": 266,
    "setns": 268,
    "sendmmsg": 269,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "kcmp": 272,
    "finit_module": 273,
    "memfd_create": 279,
    "bpf": 280,
    "userfaultfd": 282,
    "kexec_file_load": 294,
}


@dataclass(frozen=True)
class _Architecture:
    audit: int
    clone: int
    clone3: int
    ioctl: int
    denied: dict[str, int]
    has_x32: bool = False


_ARCHITECTURES = {
    "x86_64": _Architecture(0xC000003E, 56, 435, 16, _DENIED_X86_64 | _DENIED_EVERYWHERE, has_x32=True),
    "aarch64": _Architecture(0xC00000B7, 220, 435, 29, _DENIED_AARCH64 | _DENIED_EVERYWHERE),
}


def build_filter(machine: str | None = None) -> bytes:
    """Assemble the filter for `machine` (default: this one) as an array of `struct sock_filter`.

    Raises:
        SandboxUnavailable: the architecture's call numbers are not known here.
    """
    machine = machine or platform.machine()
    architecture = _ARCHITECTURES.get(machine)
    if architecture is None:
        raise SandboxUnavailable(f"no system call filter for the architecture {machine}")
    program = [
        _op(_LOAD_WORD, _ARCH),
        _op(_JUMP_EQUAL, architecture.audit, on_true=1),
        _op(_RETURN, _KILL_PROCESS),
        _op(_LOAD_WORD, _NUMBER),
    ]
    if architecture.has_x32:
        program += [_op(_JUMP_AT_LEAST, _X32_BIT, on_false=1), _op(_RETURN, _KILL_PROCESS)]
    program += _refuse_when_argument(architecture.clone, _ARG0, _JUMP_ANY_BIT, (_NEW_NAMESPACE,))
    program += _refuse_when_argument(architecture.ioctl, _ARG1, _JUMP_EQUAL, _TERMINAL_INJECTION)
    # clone3 passes its flags in memory, which a filter cannot read: callers fall back to clone.
    program += [_op(_JUMP_EQUAL, architecture.clone3, on_false=1), _op(_RETURN, _ENOSYS)]
    for number in sorted(architecture.denied.values()):
        program += [_op(_JUMP_EQUAL, number, on_false=1), _op(_RETURN, _EPERM)]
    program.append(_op(_RETURN, _ALLOW))
    return b"".join(program)


def _op(code: int, value: int, *, on_true: int = 0, on_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, on_true, on_false, value)


def _refuse_when_argument(number: int, offset: int, test: int, values: tuple[int, ...]) -> list[bytes]:
    """Refuse call `number` if its argument passes `test` for one of `values`; else allow it. Falls through else."""
    body = [_op(_LOAD_WORD, offset)]
    for value in values:
        body += [_op(test, value, on_false=1), _op(_RETURN, _EPERM)]
    body.append(_op(_RETURN, _ALLOW))
    return [_op(_JUMP_EQUAL, number, on_false=len(body)), *body]
