"""The supervisor with ordinary programs: order, readiness, restarts, stops, and what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from licensing.embedded import guard
from licensing.embedded import supervisor as supervisor_module
from licensing.embedded.errors import EmbeddedError
from licensing.embedded.process import GuardedProcess, Program, run_to_end
from licensing.embedded.stopping import NeverStop, Stop, StopRequested
from licensing.embedded.supervisor import Child, Supervisor
from tests.licensing.embedded.processes import wait_for

FOREVER = "import time; time.sleep(600)"
# Its own child leaves its session and ignores SIGTERM: what a group signal would miss.
WITH_STUBBORN_CHILD = f"""
import signal, subprocess, sys, time
code = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print("up", flush=True); time.sleep(600)'
child = subprocess.Popen([sys.executable, '-c', code], start_new_session=True)
print(child.pid, flush=True)
{FOREVER}
"""


def python(folder: Path, code: str, *, name: str = "program", stop_seconds: float = 5.0) -> Program:
    return Program(
        name=name,
        argv=[sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], "FOLDER": str(folder)},
        log=folder / f"{name}.log",
        record=folder / f"{name}.pid",
        stop_steps=((signal.SIGTERM, stop_seconds),),
    )


class Watched:
    """A supervisor in a thread, and what it announced."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stop = Stop()
        self.supervisor = Supervisor(stop=self.stop, announce=self.said.append)
        self._thread: threading.Thread | None = None

    def watch(self) -> None:
        def run() -> None:
            with pytest.raises(StopRequested):
                self.supervisor.watch()

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def close(self) -> None:
        self.stop.request()
        if self._thread is not None:
            self._thread.join()
        self.supervisor.stop()
        self.stop.__exit__()


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.close()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_child_is_waited_for_until_it_is_ready(watched: Watched, tmp_path: Path) -> None:
    sign = tmp_path / "ready"
    code = f"import os, time; time.sleep(0.2); open({str(sign)!r}, 'w').close(); {FOREVER}"
    watched.supervisor.start(Child(program=python(tmp_path, code), is_ready=sign.exists))

    assert sign.exists()
    assert list(watched.supervisor.processes()) == ["program"]


def test_a_child_that_ends_before_it_is_ready_is_an_error_with_its_last_words(watched: Watched, tmp_path: Path) -> None:
    program = python(tmp_path, "import sys; sys.exit('no such thing as a free lunch')")

    with pytest.raises(EmbeddedError, match=r"program ended with code 1 .*no such thing as a free lunch"):
        watched.supervisor.start(Child(program=program, is_ready=lambda: False))


def test_one_that_ends_is_noticed_while_another_is_waited_for(watched: Watched, tmp_path: Path) -> None:
    slow = Child(program=python(tmp_path, FOREVER, name="slow"), is_ready=lambda: False)
    broken = Child(program=python(tmp_path, "import sys; sys.exit('out of paper')", name="broken"))

    began = time.monotonic()
    with pytest.raises(EmbeddedError, match=r"broken ended with code 1 .*out of paper"):
        watched.supervisor.start(slow, broken)
    assert time.monotonic() - began < 30


def test_a_child_that_never_becomes_ready_is_an_error(watched: Watched, tmp_path: Path) -> None:
    child = Child(program=python(tmp_path, FOREVER), is_ready=lambda: False, ready_timeout_seconds=0.3)

    with pytest.raises(EmbeddedError, match="program did not answer within 0 s"):
        watched.supervisor.start(child)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("write: No space left on device", "the disk is full"), ("Read-only file system", "the file system is read-only")],
)
def test_a_well_known_symptom_becomes_its_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(EmbeddedError, match=f"program stopped because {reason}"):
        run_to_end(python(tmp_path, f"import sys; sys.exit({text!r})"), stop=NeverStop(), timeout_seconds=20)


def test_a_program_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    program = Program(name="ghost", argv=["/no/such"], env={}, log=tmp_path / "log", record=tmp_path / "ghost.pid")

    with pytest.raises(EmbeddedError, match=r"ghost ended with code 127 .*No such file"):
        run_to_end(program, stop=NeverStop(), timeout_seconds=20)


def test_a_crashed_child_is_started_again_later_and_later(watched: Watched, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    code = f"import time; open({str(starts)!r}, 'a').write(f'{{time.monotonic()}}\\n')"
    watched.supervisor.start(Child(program=python(tmp_path, code + f"; {FOREVER}"), is_ready=starts.exists))
    watched.watch()
    for number in (1, 2):
        wait_for(lambda seen=number: len(lines(starts)) == seen)
        os.kill(program_pid(tmp_path / "program.pid"), signal.SIGKILL)
    wait_for(lambda: len(lines(starts)) == 3)

    assert [line.split(";")[0] for line in watched.said] == ["program ended with code 137"] * 2
    assert "in 0.5 s" in watched.said[0]
    assert "in 1.0 s" in watched.said[1]
    times = [float(line) for line in lines(starts)]
    assert times[1] - times[0] >= 0.5
    assert times[2] - times[1] >= 1.0


def program_pid(record: Path) -> int:
    pid: int = json.loads(record.read_text())["program"][0]
    return pid


def test_children_are_stopped_group_by_group(watched: Watched, tmp_path: Path) -> None:
    order = tmp_path / "order"
    for name, group in (("database", 0), ("web", 2), ("worker", 1)):
        up = tmp_path / f"{name}-up"
        code = f"""
import signal, sys, time
def end(*_):
    time.sleep(0.1)
    open({str(order)!r}, 'a').write('{name}\\n')
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open({str(up)!r}, 'w').close()
{FOREVER}
"""
        watched.supervisor.start(Child(program=python(tmp_path, code, name=name), is_ready=up.exists, stop_group=group))
    watched.supervisor.stop()

    assert lines(order) == ["web", "worker", "database"]


def test_a_child_that_ignores_sigterm_is_killed_after_its_time(watched: Watched, tmp_path: Path) -> None:
    up = tmp_path / "up"
    code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({str(up)!r}, 'w').close(); {FOREVER}"
    watched.supervisor.start(Child(program=python(tmp_path, code, stop_seconds=0.2), is_ready=up.exists))
    pid = program_pid(tmp_path / "program.pid")
    watched.supervisor.stop()

    assert not is_running(pid)


@pytest.mark.parametrize("end", ["stop", "crash", "guard-killed"])
def test_what_a_child_started_ends_with_it(watched: Watched, tmp_path: Path, end: str) -> None:
    log = tmp_path / "program.log"
    watched.supervisor.start(
        Child(program=python(tmp_path, WITH_STUBBORN_CHILD), is_ready=lambda: len(lines(log)) == 2)
    )
    child, grandchild = program_pid(tmp_path / "program.pid"), int(next(x for x in lines(log) if x.isdigit()))
    assert is_running(grandchild)
    if end == "stop":
        watched.supervisor.stop()
    elif end == "crash":
        os.kill(child, signal.SIGKILL)
    else:
        os.kill(watched.supervisor.processes()["program"].pid, signal.SIGKILL)
        wait_for(lambda: not is_running(child))
        # Nobody is left who knows of it: the next start finds it by its mark. Here, we end it.
        os.kill(grandchild, signal.SIGKILL)

    wait_for(lambda: not is_running(child) and not is_running(grandchild))


def test_a_stop_while_waiting_is_heard(watched: Watched, tmp_path: Path) -> None:
    threading.Timer(0.2, watched.stop.request).start()

    with pytest.raises(StopRequested):
        watched.supervisor.start(Child(program=python(tmp_path, FOREVER), is_ready=lambda: False))


def test_a_one_off_program_is_ended_when_asked_to_stop(tmp_path: Path) -> None:
    stop = Stop()
    threading.Timer(0.3, stop.request).start()
    with pytest.raises(StopRequested):
        run_to_end(python(tmp_path, FOREVER), stop=stop, timeout_seconds=60)
    stop.__exit__()

    assert not (tmp_path / "program.pid").exists()


def test_a_one_off_program_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match="program took longer than 0 s"):
        run_to_end(python(tmp_path, FOREVER), stop=NeverStop(), timeout_seconds=0.2)

    assert not (tmp_path / "program.pid").exists()


def test_logs_are_kept_for_one_start_and_bounded(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "MAX_LOG_BYTES", 1000)
    monkeypatch.setattr(supervisor_module, "_LOG_CHECK_SECONDS", 0.1)
    log = tmp_path / "program.log"
    log.write_text("of the run before")
    code = f"import sys\nfor n in range(200): print('x' * 100, flush=True)\n{FOREVER}"
    watched.supervisor.start(Child(program=python(tmp_path, code)))
    assert (tmp_path / "program.log.1").read_text() == "of the run before"
    watched.watch()

    wait_for(lambda: (tmp_path / "program.log.1").stat().st_size > 1000 and log.stat().st_size <= 1000)


class TestStop:
    def test_a_signal_is_remembered_and_cuts_pauses_short(self) -> None:
        with Stop() as stop:
            signal.raise_signal(signal.SIGTERM)
            began = time.monotonic()
            for _ in range(2):
                with pytest.raises(StopRequested):
                    stop.pause(30)
            assert time.monotonic() - began < 5
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def test_the_end_of_a_followed_process_is_a_wish_to_stop(self, tmp_path: Path) -> None:
        child = os.posix_spawn(sys.executable, [sys.executable, "-c", FOREVER], os.environ)
        with Stop() as stop:
            stop.follow(child)
            stop.pause(0)
            os.kill(child, signal.SIGKILL)
            with pytest.raises(StopRequested):
                stop.pause(30)
        os.waitpid(child, 0)
        with Stop() as stop:
            stop.follow(child)
            assert stop.is_requested


def test_an_ignored_hangup_stays_ignored() -> None:
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop() as stop:
            signal.raise_signal(signal.SIGHUP)
            stop.pause(0)
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_a_program_that_is_stopped_the_moment_it_starts_hears_of_it(tmp_path: Path) -> None:
    """The guard's own handlers, which a forked child has for an instant, must not swallow the signal."""
    for _ in range(8):
        process = GuardedProcess(python(tmp_path, FOREVER, stop_seconds=60.0))
        assert process.stop() == 128 + signal.SIGTERM


def test_a_guard_whose_supervisor_is_gone_already_starts_nothing(tmp_path: Path) -> None:
    sign = tmp_path / "started"
    orders = {
        "argv": [sys.executable, "-c", f"open({str(sign)!r}, 'w')"],
        "cwd": None,
        "run_as": None,
        "passwd": None,
        "death_signal": int(signal.SIGKILL),
        "stop_steps": [],
        "record": str(tmp_path / "record.pid"),
        "supervisor": 1,  # anybody but the guard's parent
    }
    ended = subprocess.run(
        [sys.executable, "-I", "-S", guard.__file__], input=json.dumps(orders).encode() + b"\n", check=False
    )
    assert ended.returncode == guard.EXIT_CANNOT_RUN
    assert not sign.exists()
    assert not (tmp_path / "record.pid").exists()
