"""Takes from the parsing process every right that parsing does not need.

Each measure is tried by itself, because kernels and containers differ; what took
effect is reported, never assumed. Linux; elsewhere only the portable limits hold.

* no network: a user and a network namespace of its own
* no new file, socket or pipe: the limit of open files equals those already open
* no file system, no TCP: Landlock with an empty rule set (kernel 5.13; TCP 6.7)
* no privileges through set-uid programs, no core dump, no growing file, no fork
* bounded data segment and CPU time
* death with the parent

System call numbers and structures: landlock(7), unshare(2), prctl(2).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
# Access rights by Landlock ABI: bits of the file system, bits of the network.
_LANDLOCK_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
_LANDLOCK_FS_BITS_NOW, _LANDLOCK_NET_BITS = 16, 2

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def without_network() -> bool:
    """Leave the network for an empty one; return whether that was allowed."""
    return _libc is not None and _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0


def die_with_parent() -> bool:
    """Ask to be killed when the thread that forked this process ends."""
    return _libc is not None and _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0


def confine(*, open_files: int, memory_bytes: int, cpu_seconds: int) -> dict[str, bool]:
    """Limit this process for good; return which measures took effect.

    `open_files` is the number of descriptors in use: they must be the lowest ones.
    Call it last: afterwards nothing can be opened, and nothing imported.
    """
    effects = {"landlock": _landlock()}
    for name, limit, value in (
        ("no_core_dump", resource.RLIMIT_CORE, 0),
        ("no_file_growth", resource.RLIMIT_FSIZE, 0),
        ("no_new_process", resource.RLIMIT_NPROC, 0),
        ("bounded_cpu", resource.RLIMIT_CPU, cpu_seconds),
        ("bounded_memory", resource.RLIMIT_DATA, memory_bytes),
        ("no_new_file", resource.RLIMIT_NOFILE, open_files),
    ):
        # At the soft limit of CPU time comes SIGXCPU, which tells the reason; at the hard
        # one SIGKILL, which does not.
        effects[name] = _limit(limit, value, value + (limit == resource.RLIMIT_CPU))
    return effects


def _limit(limit: int, soft: int, hard: int) -> bool:
    _, most = resource.getrlimit(limit)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    try:
        resource.setrlimit(limit, (soft, hard))
    except (ValueError, OSError):  # the platform does not know or allow it
        return False
    return True


def _landlock() -> bool:
    if _libc is None or _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    version = _libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    handled = (ctypes.c_uint64 * 2)(
        (1 << _LANDLOCK_FS_BITS.get(version, _LANDLOCK_FS_BITS_NOW)) - 1,
        (1 << _LANDLOCK_NET_BITS) - 1,
    )
    size = ctypes.sizeof(handled) if version >= 4 else ctypes.sizeof(ctypes.c_uint64)
    rules = _libc.syscall(_LANDLOCK_CREATE_RULESET, ctypes.byref(handled), size, 0)
    if rules < 0:
        return False
    try:
        return bool(_libc.syscall(_LANDLOCK_RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)
