"""What system calls a program may make: a table to read, and the filter that is made of it.

Whatever the table does not name fails with EPERM. Calls are allowed whole, or under conditions on their arguments;
every condition looks at 32-bit words, as the kernel reads only those of the flags and numbers concerned. Calls of
another machine (i386 by int 0x80) kill the process; x32 calls do not exist.

Only with conditions: `clone` makes threads and nothing else; `kill`, `tkill` and `tgkill` reach the program itself;
`fcntl` cannot direct signals at others; `prlimit64` reads; memory is never writable and executable at once.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tutelage.sandbox.bpf import (
    ALLOW,
    ERRNO,
    JUMP,
    JUMP_AT_LEAST,
    JUMP_EQUAL,
    KILL_PROCESS,
    LOAD,
    MASK,
    OFFSET_ARGUMENTS,
    OFFSET_MACHINE,
    OFFSET_NUMBER,
    RETURN,
    Assembler,
)
from tutelage.sandbox.syscalls import number

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000
DENY = ERRNO | errno.EPERM
ITSELF = 0x5E1F5E1F
"""Stands for the process id in a filter that is built once for all children."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ALWAYS = _words("""
read write readv writev pread64 pwrite64 preadv pwritev lseek close close_range dup dup2 dup3 pipe pipe2 fsync
fdatasync sync_file_range sendfile copy_file_range fadvise64 readahead flock open openat stat fstat lstat
newfstatat statx access faccessat faccessat2 readlink readlinkat getdents getdents64 getcwd chdir fchdir statfs
fstatfs umask poll ppoll select pselect6 pause nanosleep clock_nanosleep sched_yield restart_syscall munmap
mremap madvise brk msync mincore membarrier rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending
rt_sigtimedwait rt_sigsuspend sigaltstack alarm setitimer getitimer futex set_robust_list get_robust_list
set_tid_address rseq arch_prctl gettid exit exit_group getpid getppid getuid geteuid getgid getegid getresuid
getresgid getgroups getpgrp getpgid getsid getrlimit getrusage times sysinfo uname getcpu sched_getaffinity
getpriority clock_gettime clock_getres gettimeofday time getrandom wait4 waitid
""")
CHANGING_FILES = _words("""
creat truncate ftruncate fallocate rename renameat renameat2 mkdir mkdirat rmdir unlink unlinkat link linkat
symlink symlinkat chmod fchmod fchmodat utime utimes utimensat futimesat
""")
"""Allowed where there is a scratch folder; elsewhere EROFS, as on a read-only disk."""
ATTRIBUTES = _words("""
getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr lsetxattr fsetxattr
""")
"""ENOTSUP: what `shutil.copy2` expects of a file system without them."""

CLONE_THREAD = 0x00010000
CLONE_NEW_ANYTHING = 0x7E020080  # all CLONE_NEW* flags
PROT_WRITE, PROT_EXEC = 2, 4
FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)  # dup, flags, locks, pipe size; nothing that sets an owner
IOCTL = (0x5401, 0x5413, 0x541B, 0x5450, 0x5451)  # TCGETS, TIOCGWINSZ, FIONREAD, FIONCLEX, FIOCLEX
PRCTL = (2, 3, 15, 16, 21, 23, 39)  # get: death signal, dumpable, seccomp, bounding set, no_new_privs; thread name


class Condition(NamedTuple):
    """Holds where word `word` of the arguments (2 per argument, low one first), masked, equals `value`."""

    word: int
    mask: int
    value: int


@dataclass(frozen=True)
class Rule:
    """What becomes of a call: allowed if all conditions of any alternative hold, else `otherwise`."""

    alternatives: tuple[tuple[Condition, ...], ...] = ()
    otherwise: int = DENY


def argument_in(index: int, values: Iterable[int]) -> Rule:
    """Allow where an argument, read as 32 bits, is one of some values."""
    return Rule(tuple((Condition(2 * index, 0xFFFFFFFF, value),) for value in values))


def rules(*, has_scratch: bool) -> dict[str, Rule | None]:
    """The rule of every call that is named; None allows it whole.

    Args:
        has_scratch: whether the program may change files.
    """
    changing = None if has_scratch else Rule(otherwise=ERRNO | errno.EROFS)
    no_writable_code = Rule(((Condition(4, PROT_WRITE, 0),), (Condition(4, PROT_EXEC, 0),)))
    table: dict[str, Rule | None] = dict.fromkeys(ALWAYS)
    table |= dict.fromkeys(CHANGING_FILES, changing)
    table |= dict.fromkeys(ATTRIBUTES, Rule(otherwise=ERRNO | errno.ENOTSUP))
    table |= {
        "clone": Rule(((Condition(0, CLONE_THREAD | CLONE_NEW_ANYTHING, CLONE_THREAD),),)),
        "clone3": Rule(otherwise=ERRNO | errno.ENOSYS),  # its flags lie in memory; libc then takes clone
        "kill": argument_in(0, (ITSELF,)),
        "tgkill": argument_in(0, (ITSELF,)),
        "tkill": argument_in(0, (ITSELF,)),
        "mmap": no_writable_code,
        "mprotect": no_writable_code,
        "prlimit64": Rule(((Condition(4, 0xFFFFFFFF, 0), Condition(5, 0xFFFFFFFF, 0), Condition(0, 0xFFFFFFFF, 0)),)),
        "fcntl": argument_in(1, FCNTL),
        "ioctl": argument_in(1, IOCTL),
        "prctl": argument_in(0, PRCTL),
    }
    return table


def for_process(built: bytes, pid: int) -> bytes:
    """The filter of one process, which may signal itself alone.

    Args:
        built: what `build` made.
        pid: its process id, as it sees it itself.
    """
    return built.replace(struct.pack("=I", ITSELF), struct.pack("=I", pid))


def build(machine: str, *, has_scratch: bool) -> bytes:
    """The filter as bytes, but for the process id; see `for_process`.

    Args:
        machine: "x86_64" or "aarch64".
        has_scratch: see `rules`.
    """
    assembler = Assembler()
    assembler.emit(LOAD, OFFSET_MACHINE)
    assembler.emit(JUMP_EQUAL, AUDIT[machine], "ours", None)
    assembler.emit(RETURN, KILL_PROCESS)
    assembler.label("ours")
    assembler.emit(LOAD, OFFSET_NUMBER)
    numbered = {}
    for name, rule in rules(has_scratch=has_scratch).items():
        call = number(name, machine)
        if call is not None:
            numbered[call] = rule
    blocks: dict[Rule, str] = {}
    _search(assembler, _ranges(numbered), blocks)
    for rule, label in blocks.items():
        _check(assembler, rule, label)
    return assembler.assemble()


class Range(NamedTuple):
    """Call numbers from `start` on that share a fate: a rule, None for allowed, or "deny"."""

    start: int
    fate: Rule | str | None


def _ranges(numbered: dict[int, Rule | None]) -> list[Range]:
    found = [Range(0, "deny")]
    for call in range(max(numbered) + 2):
        fate = numbered.get(call, "deny")
        if found[-1].fate != fate:
            found.append(Range(call, fate))
    return [*found, Range(X32_BIT, Rule(otherwise=ERRNO | errno.ENOSYS))]


def _search(assembler: Assembler, ranges: list[Range], blocks: dict[Rule, str]) -> None:
    """A binary search for the call number, so that an allowed call costs seven comparisons and not a hundred."""
    if len(ranges) > 1:
        middle = len(ranges) // 2
        upper = assembler.new_label()
        assembler.emit(JUMP_AT_LEAST, ranges[middle].start, upper, None)
        _search(assembler, ranges[:middle], blocks)
        assembler.label(upper)
        _search(assembler, ranges[middle:], blocks)
        return
    fate = ranges[0].fate
    if isinstance(fate, Rule):
        assembler.emit(JUMP, 0, blocks.setdefault(fate, f"rule{len(blocks)}"))
    else:
        assembler.emit(RETURN, ALLOW if fate is None else DENY)


def _check(assembler: Assembler, rule: Rule, label: str) -> None:
    assembler.label(label)
    for number_, conditions in enumerate(rule.alternatives):
        failed = f"{label}.{number_}"
        for condition in conditions:
            assembler.emit(LOAD, OFFSET_ARGUMENTS + 4 * condition.word)
            assembler.emit(MASK, condition.mask)
            assembler.emit(JUMP_EQUAL, condition.value, None, failed)
        assembler.emit(RETURN, ALLOW)
        assembler.label(failed)
    assembler.emit(RETURN, rule.otherwise)
