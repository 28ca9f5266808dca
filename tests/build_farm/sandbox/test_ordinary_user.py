"""A server that is an ordinary user: the same sandbox under its own uid, and it says so."""

import os
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from build_farm.sandbox.bubblewrap import find_bubblewrap

SYSTEM_PYTHON = Path("/usr/bin/python3.11")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become an ordinary user"),
    pytest.mark.skipif(not SYSTEM_PYTHON.exists(), reason="needs a Python 3.11 that other users may run"),
]


@pytest.fixture
def uid(base_uid: int) -> int:
    return base_uid + 8


@pytest.fixture
def home(uid: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="keywright-user-", dir="/tmp") as name:
        os.chown(name, uid, uid)
        yield Path(name)


def as_ordinary_user(home: Path, code: str) -> str:
    script = f"""
        import sys
        from pathlib import Path, PurePosixPath
        from build_farm.sandbox import *
        with SlotPool(Path({str(home)!r}) / "slots", count=1).take() as slot:
            (slot.folder / "scratch").mkdir()
            mounts = tuple(Mount(Path(p), PurePosixPath(p)) for p in ("/usr", "/lib", "/lib64"))
            def run(code, **limits):
                spec = SandboxSpec(slot=slot, scratch=slot.folder / "scratch", read_only=mounts,
                    bubblewrap=Path({str(find_bubblewrap(None))!r}),
                    limits=SandboxLimits(**dict(wall_seconds=20.0, processes=40) | limits))
                return run_sandboxed(spec, ("/usr/bin/python3.11", "-I", "-S", "-c", code))
    """
    done = subprocess.run(
        [str(SYSTEM_PYTHON), "-c", textwrap.dedent(script) + textwrap.indent(textwrap.dedent(code), "    ")],
        user=home.stat().st_uid,
        group=home.stat().st_gid,
        extra_groups=[],
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_runs_under_the_servers_uid_and_reports_that(home: Path, uid: int) -> None:
    said = as_ordinary_user(
        home,
        """result = run("import os; print('uid', os.getuid())"); print(result.log, result.dropped_uid, slot.uid)""",
    )
    assert said.split() == ["uid", str(uid), "False", "None"]


def test_its_own_private_files_are_not_visible_inside(home: Path) -> None:
    said = as_ordinary_user(
        home,
        f"""
        secret = Path({str(home)!r}) / "secret"
        secret.write_text("mine")
        print(open(secret).read())
        print(run("print(open('{home}/secret').read())").log)
        """,
    )
    assert said.startswith("mine\n")
    assert "FileNotFoundError" in said


def test_limits_bite_there_too(home: Path) -> None:
    said = as_ordinary_user(
        home,
        """
        fork = "import os, time\\nwhile True:\\n if os.fork() == 0: time.sleep(9); os._exit(0)"
        print(run(fork).stop, run(fork).exit_code)
        print(run("while True: pass", wall_seconds=0.5).stop)
        print(run("bytearray(1 << 30)", memory_bytes=200 << 20).log)
        """,
    ).splitlines()
    assert said[0] in ("processes None", "exited 1", "processes 1", "exited None")
    assert said[1] == "wall_clock"
    assert "MemoryError" in said[-2:]
