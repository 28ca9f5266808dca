"""Every limit bites, everything of a stopped run dies, and the next run is fine."""

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest

from build_farm.sandbox import SandboxResult, SandboxSpec, SlotPool, SlotsBusy, Stop
from build_farm.sandbox.slots import has_processes

RunPython = Callable[..., SandboxResult]
MIB = 1024 * 1024


def limited(spec: SandboxSpec, **bounds: float) -> SandboxSpec:
    return dataclasses.replace(spec, limits=dataclasses.replace(spec.limits, **bounds))  # type: ignore[arg-type]


def test_a_process_cannot_take_more_memory_than_is_allowed(run_python: RunPython) -> None:
    result = run_python(
        """
        small = bytearray(100 << 20)
        print("small fits")
        try:
            bytearray(1 << 30)
            print("LARGE FITS")
        except MemoryError:
            print("large refused")
        """
    )
    assert result.log.split("\n")[:2] == ["small fits", "large refused"]


def test_many_processes_together_are_stopped_at_the_same_bound(run_python: RunPython, spec: SandboxSpec) -> None:
    result = run_python(
        """
        import os, time
        for _ in range(8):
            if os.fork() == 0:
                hoard = bytearray(os.urandom(1)) * (60 << 20)
                time.sleep(15)
        time.sleep(15)
        """,
        under=limited(spec, memory_bytes=200 * MIB),
    )
    assert result.stop is Stop.MEMORY
    assert result.peak_memory_bytes > 200 * MIB
    assert result.wall_seconds < 10


def test_memory_that_the_kernel_does_not_count_as_data_is_stopped_too(run_python: RunPython, spec: SandboxSpec) -> None:
    result = run_python(
        """
        import mmap, time
        shared = mmap.mmap(-1, 400 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
        for offset in range(0, 400 << 20, 4096):
            shared[offset] = 1
        time.sleep(15)
        """,
        under=limited(spec, memory_bytes=200 * MIB),
    )
    assert result.stop is Stop.MEMORY


def test_cpu_time_of_one_process_is_bounded(run_python: RunPython, spec: SandboxSpec) -> None:
    result = run_python("while True: pass", under=limited(spec, cpu_seconds=1))
    assert result.stop is Stop.CPU or result.exit_code == 128 + signal.SIGKILL
    assert result.wall_seconds < 10


def test_cpu_time_of_all_processes_together_is_bounded(run_python: RunPython, spec: SandboxSpec) -> None:
    # Each lives for less than the bound of one process.
    result = run_python(
        """
        import os, time
        while True:
            if os.fork() == 0:
                end = time.process_time() + 0.2
                while time.process_time() < end: pass
                os._exit(0)
            os.wait()
        """,
        under=limited(spec, cpu_seconds=1),
    )
    assert result.stop is Stop.CPU


def test_processes_are_bounded(run_python: RunPython, spec: SandboxSpec) -> None:
    result = run_python(
        """
        import os, time
        started = 0
        try:
            for _ in range(100):
                if os.fork() == 0:
                    time.sleep(10)
                    os._exit(0)
                started += 1
        except BlockingIOError:
            pass
        print("started", started)
        """,
        under=limited(spec, processes=20),
    )
    stopped = result.stop is Stop.PROCESSES
    assert stopped or int(result.log.split()[1]) <= 20
    assert result.wall_seconds < 5  # and the sleepers died with the sandbox


def test_one_files_size_is_bounded(run_python: RunPython, spec: SandboxSpec) -> None:
    result = run_python(
        """
        try:
            with open("/tmp/file", "wb") as stream:
                for _ in range(8): stream.write(bytes(1 << 20))
            print("WRITTEN")
        except OSError as exc:
            print("refused", exc.errno)
        """,
        under=limited(spec, file_bytes=2 * MIB),
    )
    assert "refused 27" in result.log  # EFBIG


def test_all_files_together_are_bounded(run_python: RunPython) -> None:
    result = run_python(
        """
        written = 0
        try:
            for n in range(100):
                open(f"/tmp/{n}", "wb").write(bytes(1 << 20))
                written += 1
        except OSError as exc:
            print("refused", exc.errno, "after", written)
        """
    )
    assert "refused 28 after 7" in result.log or "refused 28 after 8" in result.log  # ENOSPC


def test_open_files_are_bounded(run_python: RunPython, spec: SandboxSpec) -> None:
    result = run_python(
        """
        held = []
        try:
            while True: held.append(open("/dev/null"))
        except OSError as exc:
            print("refused", exc.errno)
        """,
        under=limited(spec, open_files=50),
    )
    assert "refused 24" in result.log  # EMFILE


def test_a_stuck_command_is_killed_with_all_it_started(run_python: RunPython, spec: SandboxSpec) -> None:
    result = run_python(
        """
        import os, signal, time
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU):
            signal.signal(number, signal.SIG_IGN)
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    time.sleep(60)
                os._exit(0)
        print("stuck", flush=True)
        time.sleep(60)
        """,
        under=limited(spec, wall_seconds=0.6),
    )
    assert result.stop is Stop.WALL_CLOCK
    assert result.exit_code is None
    assert "stuck" in result.log
    assert result.wall_seconds < 5
    assert spec.slot.uid is None or not has_processes(spec.slot.uid)


def test_what_is_left_in_the_background_dies_with_the_command(run_python: RunPython, spec: SandboxSpec) -> None:
    result = run_python(
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
            time.sleep(60)
        print("done", flush=True)
        """
    )
    assert result.succeeded
    assert result.wall_seconds < 5
    assert spec.slot.uid is None or not has_processes(spec.slot.uid)


def test_a_hundred_megabytes_of_log_in_one_line_are_cut_and_cost_no_memory(run_python: RunPython) -> None:
    script = """
        import sys
        sys.stdout.write("first line\\n")
        for _ in range(100): sys.stdout.write("x" * (1 << 20))
        sys.stdout.write("\\nlast line\\n")
    """
    result = run_python(script)
    assert result.succeeded
    assert result.log_truncated
    assert len(result.log) < 10_000
    assert result.log.startswith("first line\n")
    assert result.log.endswith("last line\n")


def test_the_worker_being_killed_kills_the_sandbox(
    spec: SandboxSpec, farm: Path, tmp_path: Path, base_uid: int
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            from pathlib import Path, PurePosixPath
            from build_farm.sandbox import *
            mounts = tuple(Mount(Path(p), PurePosixPath(p)) for p in sys.argv[3:])
            with SlotPool(Path(sys.argv[1]), count=1, base_uid=int(sys.argv[2])).take() as slot:
                (slot.folder / "scratch").mkdir()
                spec = SandboxSpec(slot=slot, scratch=slot.folder / "scratch", read_only=mounts)
                print("started", flush=True)
                run_sandboxed(spec, ("/usr/bin/env", "sleep", "54321"))
            """
        )
    )
    mounts = [str(mount.source) for mount in spec.read_only]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, str(script), str(farm / "pool"), str(base_uid + 1), *mounts],
        stdout=subprocess.PIPE,
        env=environment,
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"started\n"
        until(lambda: bool(sleepers()))
        worker.kill()
    until(lambda: not sleepers())
    # The lock is free again, and the slot with it.
    with SlotPool(farm / "pool", count=1, base_uid=base_uid + 1).take() as again:
        assert again.number == 0


def sleepers() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == b"sleep\x0054321\x00":
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 10
    while not condition():
        assert monotonic() < deadline, "waited too long"
        sleep(0.02)


def test_a_taken_slot_is_not_given_twice(farm: Path, base_uid: int) -> None:
    pool = SlotPool(farm / "pool", count=1, base_uid=base_uid + 2)
    with pool.take(), pytest.raises(SlotsBusy), pool.take():
        pass
    with pool.take() as slot:
        assert list(slot.folder.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has slots with uids of their own")
def test_a_slot_whose_uid_still_has_processes_is_not_free(farm: Path, base_uid: int) -> None:
    pool = SlotPool(farm / "pool", count=1, base_uid=base_uid + 3)
    with subprocess.Popen(["/bin/sleep", "60"], user=base_uid + 3, group=base_uid + 3, extra_groups=[]) as leftover:
        try:
            with pytest.raises(SlotsBusy), pool.take():
                pass
        finally:
            leftover.kill()
    with pool.take() as slot:
        assert slot.uid == base_uid + 3


def test_slots_folder_is_emptied_for_the_next_build(farm: Path, base_uid: int) -> None:
    pool = SlotPool(farm / "again", count=1, base_uid=base_uid + 4)
    with pool.take() as first:
        (first.folder / "left").write_text("over")
    with pool.take() as second:
        assert list(second.folder.iterdir()) == []
