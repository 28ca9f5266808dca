"""What a command in the sandbox cannot reach. Each probe is first seen to work where it should, or could not fail."""

import dataclasses
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from build_farm.sandbox import BuildSlot, InlineFile, Mount, SandboxResult, SandboxSpec, SlotPool

RunPython = Callable[..., SandboxResult]

READ = """
    import sys
    for path in sys.argv[1:]:
        try:
            print("READ", path, open(path, "rb").read(20))
        except OSError as exc:
            print("refused", path, type(exc).__name__)
"""


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_network_cannot_be_reached_and_the_same_probe_reaches_it_outside(
    run_python: RunPython, listener: int
) -> None:
    socket.create_connection(("127.0.0.1", listener), timeout=5).close()
    result = run_python(
        """
        import socket, sys
        for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, 40, socket.AF_PACKET):
            try:
                socket.socket(family, socket.SOCK_STREAM)
                print("GOT", family)
            except PermissionError as exc:
                print("refused", int(family))
        try:
            socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=2)
            print("CONNECTED")
        except OSError as exc:
            print("no connection")
        """,
        str(listener),
    )
    assert result.log.count("refused") == 6
    assert "no connection" in result.log
    assert "GOT" not in result.log
    assert "CONNECTED" not in result.log


def test_no_file_of_the_host_can_be_read(run_python: RunPython, farm: Path, slot: BuildSlot) -> None:
    data = farm / "data"
    data.mkdir()
    (data / "public.txt").write_text("data")
    secret = farm / "secret.key"
    secret.write_text("root's own")
    secret.chmod(0o600)
    other = farm / "slots" / "slot-7"
    other.mkdir(mode=0o755)
    (other / "binary").write_text("another build's")
    probes = [
        "/etc/shadow",
        "/etc/passwd",
        str(secret),
        str(data / "public.txt"),
        str(other / "binary"),
        "/proc/1/environ",
    ]
    result = run_python(READ, *probes, "/usr/bin/env")
    assert result.log.count("refused") == len(probes)
    assert result.log.count("READ") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop to another uid")
def test_a_file_of_another_uid_is_refused_even_where_its_folder_is_shown(
    run_python: RunPython, spec: SandboxSpec, farm: Path
) -> None:
    shown = farm / "shown"
    shown.mkdir(mode=0o755)
    (shown / "open").write_text("for all")
    (shown / "closed").write_text("root's own")
    (shown / "closed").chmod(0o600)
    under = dataclasses.replace(spec, read_only=(*spec.read_only, Mount(shown, PurePosixPath("/shown"))))
    result = run_python(READ, "/shown/open", "/shown/closed", under=under)
    assert "READ /shown/open b'for all'" in result.log
    assert "refused /shown/closed PermissionError" in result.log
    assert result.dropped_uid
    assert result.uid == spec.slot.uid


def test_the_environment_is_empty_but_for_what_was_given(
    run_python: RunPython, spec: SandboxSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    under = dataclasses.replace(spec, environment={"GIVEN": "yes"})
    result = run_python("import os; print(sorted(os.environ.items()))", under=under)
    assert "('GIVEN', 'yes')" in result.log
    assert "hunter2" not in result.log
    assert set(eval(result.log)) <= {("GIVEN", "yes"), ("PWD", "/tmp"), ("LC_CTYPE", "C.UTF-8")}  # noqa: S307


def test_no_process_of_the_host_is_visible_or_can_be_signalled(run_python: RunPython) -> None:
    result = run_python(
        """
        import os, sys
        print("proc", os.path.exists("/proc"), "pid", os.getpid(), "parent", os.getppid())
        try:
            os.kill(int(sys.argv[1]), 0)
            print("SIGNALLED")
        except ProcessLookupError:
            print("no such process")
        """,
        str(os.getpid()),
    )
    assert "proc False" in result.log
    assert "no such process" in result.log


def test_nothing_can_be_written_but_scratch(run_python: RunPython, spec: SandboxSpec, farm: Path) -> None:
    shown = farm / "shown"
    shown.mkdir(mode=0o777)
    shown.chmod(0o777)
    under = dataclasses.replace(
        spec,
        read_only=(*spec.read_only, Mount(shown, PurePosixPath("/shown"))),
        inline_files=(InlineFile(PurePosixPath("/given/file"), b"given"),),
    )
    result = run_python(
        """
        for folder in ("/", "/dev", "/usr", "/usr/bin", "/shown", "/given", "/tmp"):
            try:
                open(f"{folder}/written", "w").write("x")
                print("WROTE", folder)
            except OSError as exc:
                print("refused", folder, exc.errno)
        try:
            open("/given/file", "w")
            print("WROTE inline")
        except OSError:
            print("refused inline")
        """,
        under=under,
    )
    assert [line for line in result.log.splitlines() if line.startswith("WROTE")] == ["WROTE /tmp"]
    assert list(shown.iterdir()) == []
    assert list(spec.scratch.iterdir()) == []


def test_only_the_one_output_file_is_written_on_the_host(
    run_python: RunPython, spec: SandboxSpec, slot: BuildSlot
) -> None:
    output = slot.folder / "output"
    output.touch(mode=0o600)
    if slot.uid is not None:
        os.chown(output, slot.uid, slot.uid)
    under = dataclasses.replace(spec, writable_files=(Mount(output, PurePosixPath("/out/binary")),))
    result = run_python(
        """
        open("/out/binary", "w").write("made")
        for act in ('open("/out/other", "w")', '__import__("os").unlink("/out/binary")'):
            try:
                exec(act)
                print("DONE", act)
            except OSError:
                print("refused")
        """,
        under=under,
    )
    assert result.succeeded
    assert output.read_text() == "made"
    assert "DONE" not in result.log


def test_no_namespace_mount_key_or_tracing_call_is_allowed(run_python: RunPython) -> None:
    result = run_python(
        """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        def call(name, *args):
            ctypes.set_errno(0)
            outcome = libc.syscall(*args) if not isinstance(name, tuple) else None
            print(name, outcome, ctypes.get_errno())
        x86 = os.uname().machine == "x86_64"
        numbers = dict(unshare=272, setns=308, mount=165, ptrace=101, keyctl=250, bpf=321, userfaultfd=323,
            kexec_load=246, perf_event_open=298, open_by_handle_at=304, memfd_create=319, shmget=29, chroot=161
        ) if x86 else dict(unshare=97, setns=268, mount=40, ptrace=117, keyctl=219, bpf=280, userfaultfd=282,
            kexec_load=104, perf_event_open=241, open_by_handle_at=265, memfd_create=279, shmget=194, chroot=51)
        numbers |= dict(io_uring_setup=425, open_tree=428, fsopen=430)
        for name, number in numbers.items():
            call(name, number, 0x10000000, 0, 0, 0, 0)
        call("clone-newuser", 56 if x86 else 220, 0x10000000 | 17, 0, 0, 0, 0)
        call("clone3", 435, 0, 0)
        call("getpid", 39 if x86 else 172)
        """
    )
    answers = {line.split()[0]: line.split()[1:] for line in result.log.splitlines()}
    assert answers.pop("getpid")[1] == "0"
    assert answers.pop("clone3") == ["-1", "38"]
    assert len(answers) == 17
    assert {tuple(answer) for answer in answers.values()} == {("-1", "1")}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="another calling convention of the same processor")
def test_calls_of_another_architecture_kill_the_process(run_python: RunPython) -> None:
    # mov eax, 20 (getpid of i386); int 0x80; ret
    result = run_python(
        """
        import ctypes, mmap
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(bytes.fromhex("b814000000cd80c3"))
        print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
        """
    )
    assert result.exit_code == 128 + 31  # SIGSYS


def test_privileges_are_gone_for_good(run_python: RunPython) -> None:
    result = run_python(
        """
        import ctypes, os
        libc = ctypes.CDLL(None)
        print("no_new_privs", libc.prctl(39, 0, 0, 0, 0), "seccomp", libc.prctl(21, 0, 0, 0, 0))
        print("bounding", sum(libc.prctl(23, n, 0, 0, 0) == 1 for n in range(41)))
        print("groups", set(os.getgroups()) - {os.getgid(), 65534})
        try:
            os.setuid(0)
            print("ROOT")
        except OSError:
            print("no root")
        """
    )
    assert "no_new_privs 1 seccomp 2" in result.log
    assert "bounding 0" in result.log
    assert "groups set()" in result.log
    assert "no root" in result.log


def test_no_descriptor_is_inherited(run_python: RunPython, spec: SandboxSpec) -> None:
    under = dataclasses.replace(spec, inline_files=(InlineFile(PurePosixPath("/given/file"), b"secret"),))
    result = run_python(
        """
        import os
        found = []
        for n in range(200):
            try:
                os.fstat(n)
                found.append(n)
            except OSError:
                pass
        print(found, open("/given/file").read())
        """,
        under=under,
    )
    assert result.log.strip() == "[0, 1, 2] secret"


def test_two_slots_at_once_have_different_uids_and_do_not_see_each_other(farm: Path, base_uid: int) -> None:
    pool = SlotPool(farm / "pool", count=2, base_uid=base_uid + 5)
    with pool.take() as first, pool.take() as second:
        assert first.number != second.number
        assert first.uid is None or first.uid != second.uid
        assert first.folder.stat().st_mode & 0o007 == 0


def test_runs_from_a_thread(run_python: RunPython) -> None:
    results: list[SandboxResult] = []
    thread = threading.Thread(target=lambda: results.append(run_python("print('ran')")))
    thread.start()
    thread.join(timeout=30)
    assert [result.log.strip() for result in results] == ["ran"]
