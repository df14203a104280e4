"""System calls that the kernel refuses to one thread, as a sandbox would. There is no way back."""

import ctypes
import os
import struct

_CALLS = {
    "x86_64": {"write": 1, "sendto": 44, "eventfd2": 290, "socketpair": 53},
    "aarch64": {"write": 64, "sendto": 206, "eventfd2": 19, "socketpair": 199},
}.get(os.uname().machine, {})

_LOAD, _IS, _RETURN = 0x20, 0x15, 0x06
_ERRNO, _ALLOW = 0x00050000, 0x7FFF0000
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2

AVAILABLE = bool(_CALLS)


def refuse(*names, errno, fd=None):
    """Refuse these system calls (on this descriptor) to this thread and those that it starts."""
    program = []
    for name in names:
        body = [(_RETURN, 0, 0, _ERRNO | errno)]
        if fd is not None:
            body = [(_LOAD, 0, 0, 16), (_IS, 0, 1, fd), *body]
        program += [(_LOAD, 0, 0, 0), (_IS, 0, len(body), _CALLS[name]), *body]
    program.append((_RETURN, 0, 0, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    filters = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_SET_SECCOMP, _FILTER, filters):
        raise OSError(ctypes.get_errno(), "no seccomp here")
