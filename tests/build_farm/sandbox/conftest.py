"""A slot, and a way to run a few lines of Python inside the sandbox."""

import os
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from build_farm.sandbox import BuildSlot, Mount, SandboxLimits, SandboxResult, SandboxSpec, SlotPool, run_sandboxed

MIB = 1024 * 1024
PYTHON_HOME = Path(sys.base_prefix).resolve()


@pytest.fixture
def farm() -> Iterator[Path]:
    """A folder that the slots' uids can pass through (pytest's own folders are closed to them)."""
    folder = Path(tempfile.mkdtemp(prefix="keywright-farm-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def base_uid() -> int:
    """Uids of this process's own: a slot is not free while another test run has processes under its uid."""
    return 70_000 + os.getpid() % 1000 * 20


@pytest.fixture
def slot(farm: Path, base_uid: int) -> Iterator[BuildSlot]:
    with SlotPool(farm / "slots", count=1, base_uid=base_uid).take() as taken:
        (taken.folder / "scratch").mkdir()
        yield taken


@pytest.fixture
def spec(slot: BuildSlot) -> SandboxSpec:
    """Sees the system's libraries and a Python, and nothing else."""
    candidates = (Path("/usr"), Path("/lib"), Path("/lib64"), PYTHON_HOME)
    mounts = tuple(Mount(path, PurePosixPath(path)) for path in candidates if is_open_to_all(path))
    return SandboxSpec(
        slot=slot,
        scratch=slot.folder / "scratch",
        read_only=mounts,
        limits=SandboxLimits(
            wall_seconds=20, cpu_seconds=10, memory_bytes=512 * MIB, scratch_bytes=8 * MIB, file_bytes=64 * MIB
        ),
    )


@pytest.fixture
def run_python(spec: SandboxSpec) -> Callable[..., SandboxResult]:
    def run(code: str, *args: str, under: SandboxSpec = spec) -> SandboxResult:
        return run_sandboxed(under, (python_inside(), "-I", "-S", "-c", textwrap.dedent(code), *args))

    return run


def is_open_to_all(path: Path) -> bool:
    """True if every user may enter it: a Python in root's home cannot be shown to a slot's uid."""
    return path.exists() and all(folder.stat().st_mode & 0o005 == 0o005 for folder in (path, *path.parents))


def python_inside() -> str:
    """A Python that the slot's uid can reach: the system's own where there is one."""
    system = Path("/usr/bin/python3")
    if not system.exists() and not is_open_to_all(PYTHON_HOME):
        pytest.skip("no Python that other users may run")
    return str(system if system.exists() else PYTHON_HOME / "bin" / "python3")
