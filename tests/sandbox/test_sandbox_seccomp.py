"""The seccomp filter, run by an interpreter of BPF written for the purpose: every rule, on both machines."""

from __future__ import annotations

import errno
import struct

import pytest

from tutelage.sandbox import seccomp
from tutelage.sandbox.bpf import ALLOW, ERRNO, INSTRUCTION, JUMP, JUMP_EQUAL, KILL_PROCESS, LOAD, RETURN, Assembler
from tutelage.sandbox.syscalls import MACHINES, NUMBERS, number

PID = 4711
EPERM, ENOSYS, EROFS = (ERRNO | code for code in (errno.EPERM, errno.ENOSYS, errno.EROFS))
DENIED = """
fork vfork execve execveat socket socketpair connect bind ptrace process_vm_readv pidfd_open pidfd_getfd
pidfd_send_signal memfd_create shmget msgget semget io_uring_setup bpf perf_event_open userfaultfd keyctl mount umount2
unshare setns chroot pivot_root personality setpriority sched_setscheduler setrlimit setuid capset process_madvise
mq_open timer_create open_by_handle_at rt_sigqueueinfo seccomp landlock_create_ruleset landlock_restrict_self
swapon reboot init_module
""".split()  # noqa: SIM905


def run(program: bytes, machine: int, call: int, *arguments: int) -> int:
    """What a filter answers to a call; a plain reading of the kernel's description of classic BPF."""
    values = [value & (1 << 64) - 1 for value in (*arguments, 0, 0, 0, 0, 0, 0)][:6]
    data = struct.pack("=IIQ6Q", call & 0xFFFFFFFF, machine, 0, *values)
    steps = [INSTRUCTION.unpack_from(program, at) for at in range(0, len(program), INSTRUCTION.size)]
    accumulator, at = 0, 0
    while True:
        code, yes, no, k = steps[at]
        at += 1
        if code == LOAD:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif code == 0x54:
            accumulator &= k
        elif code == JUMP:
            at += k
        elif code in (JUMP_EQUAL, 0x35):
            at += yes if (accumulator == k if code == JUMP_EQUAL else accumulator >= k) else no
        else:
            assert code == RETURN
            return k


@pytest.fixture(params=MACHINES)
def ask(request: pytest.FixtureRequest):
    """A function (name, *arguments) -> answer of the filter with scratch, None where the machine has no such call."""
    machine = request.param
    program = seccomp.for_process(seccomp.build(machine, has_scratch=True), PID)

    def answer(name: str, *arguments: int) -> int | None:
        call = number(name, machine)
        return None if call is None else run(program, seccomp.AUDIT[machine], call, *arguments)

    return answer


def test_what_is_always_allowed_is_allowed(ask) -> None:
    assert {ask(name) for name in (*seccomp.ALWAYS, *seccomp.CHANGING_FILES)} <= {ALLOW, None}


def test_what_is_denied_is_denied(ask) -> None:
    assert {ask(name) for name in DENIED} <= {EPERM, None}


def test_every_named_call_is_either_in_the_rules_or_denied(ask) -> None:
    named = set(seccomp.rules(has_scratch=True))
    assert named.isdisjoint(DENIED)
    assert set(NUMBERS) - named == set(DENIED) | {"landlock_add_rule"}


def test_clone_makes_threads_only(ask) -> None:
    thread = 0x3D0F00  # what pthread_create asks for
    assert ask("clone", thread) == ALLOW
    for flags in (17, 0x4111, thread | 0x10000000, thread | 0x20000, thread & ~0x10000):
        assert ask("clone", flags) == EPERM
    assert ask("clone3", 0, 88) == ENOSYS


def test_signals_reach_the_program_itself_only(ask) -> None:
    for name in ("kill", "tgkill", "tkill"):
        assert ask(name, PID, 9) == ALLOW
        for other in (0, 1, PID + 1, -1, -PID):
            assert ask(name, other, 9) == EPERM


def test_memory_is_not_writable_and_executable(ask) -> None:
    for name in ("mmap", "mprotect"):
        assert [ask(name, 0, 4096, rights) for rights in (0, 1, 3, 5)] == [ALLOW] * 4
        assert [ask(name, 0, 4096, rights) for rights in (6, 7)] == [EPERM] * 2


def test_limits_are_read_only(ask) -> None:
    assert ask("prlimit64", 0, 7, 0, 0x7FFF12345678) == ALLOW
    assert ask("prlimit64", 0, 7, 0x7FFF12345678, 0) == EPERM
    assert ask("prlimit64", 0, 7, 1 << 32, 0) == EPERM
    assert ask("prlimit64", 1, 7, 0, 0x7FFF12345678) == EPERM


def test_no_signals_by_way_of_descriptors_and_no_key_strokes(ask) -> None:
    assert ask("fcntl", 0, 1030) == ALLOW
    assert {ask("fcntl", 0, command) for command in (8, 10, 15, 1024, 1026, 1031)} == {EPERM}
    assert ask("ioctl", 1, 0x5401) == ALLOW
    assert {ask("ioctl", 0, command) for command in (0x5412, 0x541C, 0x8901, 0x5452)} == {EPERM}
    assert {ask("prctl", option) for option in (1, 4, 8, 22, 36, 38, 47)} == {EPERM}


@pytest.mark.parametrize("machine", MACHINES)
def test_without_scratch_nothing_is_changed(machine: str) -> None:
    program = seccomp.build(machine, has_scratch=False)
    answers = {
        run(program, seccomp.AUDIT[machine], call)
        for name in seccomp.CHANGING_FILES
        if (call := number(name, machine)) is not None
    }
    assert answers == {EROFS}


def test_other_call_conventions_are_shut() -> None:
    program = seccomp.build("x86_64", has_scratch=True)
    assert run(program, 0x40000003, 20) == KILL_PROCESS  # i386
    assert run(program, seccomp.AUDIT["x86_64"], 0x40000000 + 41) == ENOSYS  # x32 socket
    assert run(program, seccomp.AUDIT["x86_64"], 0x40000000) == ENOSYS
    assert run(program, seccomp.AUDIT["x86_64"], 0xFFFFFFFF) == ENOSYS
    assert run(program, seccomp.AUDIT["x86_64"], 100_000) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_no_number_is_allowed_that_the_table_does_not_name(machine: str) -> None:
    program = seccomp.for_process(seccomp.build(machine, has_scratch=True), PID)
    named = {number(name, machine) for name in seccomp.rules(has_scratch=True)}
    allowed = {call for call in range(1024) if run(program, seccomp.AUDIT[machine], call) == ALLOW}
    assert allowed <= named


def test_numbers_are_those_of_this_machine() -> None:
    """Against the C library's own header, where it is installed."""
    from pathlib import Path

    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("no kernel headers here")
    lines = (line.split() for line in header.read_text().splitlines() if line.startswith("#define __NR_"))
    real = {name.removeprefix("__NR_"): int(value) for _, name, value in lines}
    ours = {name: numbers[0] for name, numbers in NUMBERS.items() if numbers[0] is not None}
    assert ours == {name: real[name] for name in ours}


def test_the_assembler_refuses_jumps_it_cannot_make() -> None:
    far = Assembler()
    far.emit(JUMP_EQUAL, 0, "end", None)
    for _ in range(300):
        far.emit(LOAD, 0)
    far.label("end")
    far.emit(RETURN, ALLOW)
    with pytest.raises(ValueError, match="spans 300"):
        far.assemble()
    nowhere = Assembler()
    nowhere.emit(JUMP, 0, "nowhere")
    with pytest.raises(ValueError, match="no label"):
        nowhere.assemble()
