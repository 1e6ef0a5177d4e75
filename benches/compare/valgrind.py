"""Runs a program under callgrind, and reads what that counted.

The kernel tells a program where its vDSO is (`prctl(PR_GET_AUXV)`), and valgrind, which takes the vDSO away,
passes that on; rustix looks there and crashes. So this call fails under callgrind, as on older kernels, and
what valgrind says of itself is read instead.
"""

import ctypes
import platform
import re
import struct
import subprocess

WORDS = ["valgrind", "--tool=callgrind", "--quiet"]

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
PR_GET_AUXV = 0x41555856
PRCTL = {"x86_64": 157, "aarch64": 167}
ALLOW, FAILS = 0x7FFF0000, 0x00050000 | 22


def without_auxv():
    """To be called between fork and exec."""
    load, equal, answer = 0x20, 0x15, 0x06
    rules = [
        (load, 0, 0, 0),
        (equal, 0, 3, PRCTL[platform.machine()]),
        (load, 0, 0, 16),
        (equal, 0, 1, PR_GET_AUXV),
        (answer, 0, 0, FAILS),
        (answer, 0, 0, ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *rule) for rule in rules))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(rules), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for words in ((PR_SET_NO_NEW_PRIVS, 1, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program))):
        if libc.prctl(words[0], ctypes.c_ulong(words[1]), ctypes.c_ulong(words[2]), 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "no filter for system calls")


def zero(pid):
    subprocess.run(["callgrind_control", "--zero", str(pid)], check=True, capture_output=True)


def dump(pid, out):
    """Instructions since `zero`, and the file that says where."""
    subprocess.run(["callgrind_control", "--dump", str(pid)], check=True, capture_output=True)
    newest = max(out.parent.glob(out.name + ".*"), key=lambda path: int(path.suffix[1:]))
    return int(re.search(r"^(?:totals|summary): (\d+)", newest.read_text(), re.M)[1]), newest
