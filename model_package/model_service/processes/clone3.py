"""Threads on hosts whose seccomp filter answers ``clone3`` with EPERM.

Container engines before 2021 do (Docker up to 20.10.9, libseccomp up to 2.5.1). glibc from 2.34 on
tries ``clone3`` first and falls back to ``clone`` only for ENOSYS, so that no thread starts: "can't
start new thread". A filter of the process's own answers ENOSYS instead.

Source: seccomp(2): of several filters with an action of the same kind the newest one's data counts;
https://github.com/moby/moby/pull/42681.
"""

from __future__ import annotations

import ctypes
import errno
import struct

_SYS_CLONE3 = 435  # on every architecture, as of all system calls since Linux 5.1
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_PR_SET_NO_NEW_PRIVS = 38
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000

# Classic BPF on struct seccomp_data: clone3 is not there, everything else is as it was.
_NO_CLONE3 = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x20, 0, 0, 0),  # load the number of the system call
        (0x15, 0, 1, _SYS_CLONE3),  # clone3? go on, else skip one
        (0x06, 0, 0, _ERRNO | errno.ENOSYS),
        (0x06, 0, 0, _ALLOW),
    )
)


def allow_threads() -> bool:
    """Install the filter where ``clone3`` is forbidden; return whether it was.

    It holds for this process and all that it starts. Where nothing is forbidden nothing changes.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if _try_clone3(libc) != errno.EPERM:
        return False
    code = ctypes.create_string_buffer(_NO_CLONE3)
    program = struct.pack("HL", len(_NO_CLONE3) // 8, ctypes.addressof(code))
    # Without this only root may install a filter; programs that are setuid no longer are.
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, program, 0, 0)
    return _try_clone3(libc) != errno.EPERM


def _try_clone3(libc: ctypes.CDLL) -> int:
    """Return the error of a call that no kernel obeys: its argument is too short."""
    libc.syscall(_SYS_CLONE3, None, 0)
    return ctypes.get_errno()
