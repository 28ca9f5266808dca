"""If the confinement cannot be had, the command does not run."""

import dataclasses
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from build_farm.sandbox import (
    InlineFile,
    Mount,
    SandboxResult,
    SandboxSpec,
    SandboxUnavailable,
    Stop,
    cgroup,
    run_sandboxed,
    runner,
)
from build_farm.sandbox.cgroup import own_cgroup
from build_farm.sandbox.seccomp import build_filter

RunPython = Callable[..., SandboxResult]


@pytest.fixture
def witness(spec: SandboxSpec) -> tuple[SandboxSpec, Path]:
    """A spec with a file that a command which does run writes to."""
    output = spec.slot.folder / "witness"
    output.touch()
    if spec.slot.uid is not None:
        os.chown(output, spec.slot.uid, spec.slot.uid)
    return dataclasses.replace(spec, writable_files=(Mount(output, PurePosixPath("/witness")),)), output


COMMAND = ("/usr/bin/env", "sh", "-c", "echo ran > /witness")


def test_the_witness_is_written_when_the_sandbox_can_be_had(witness: tuple[SandboxSpec, Path]) -> None:
    spec, output = witness
    assert run_sandboxed(spec, COMMAND).succeeded
    assert output.read_text() == "ran\n"


def test_without_bubblewrap(witness: tuple[SandboxSpec, Path], farm: Path) -> None:
    spec, output = witness
    with pytest.raises(SandboxUnavailable, match="bubblewrap not found"):
        run_sandboxed(dataclasses.replace(spec, bubblewrap=farm / "bwrap"), COMMAND)
    assert output.read_text() == ""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 0", "before the command ran"),
        ("echo 'bwrap: No permissions to create new namespace' >&2; exit 1", "No permissions to create new namespace"),
        ("kill -9 $$", "before the command ran"),
    ],
    ids=["ends at once", "no namespaces", "killed"],
)
def test_with_a_bubblewrap_that_does_not_do_its_work(
    witness: tuple[SandboxSpec, Path], farm: Path, script: str, said: str
) -> None:
    spec, output = witness
    broken = farm / "bwrap"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    broken.chmod(0o755)
    with pytest.raises(SandboxUnavailable, match=said):
        run_sandboxed(dataclasses.replace(spec, bubblewrap=broken), COMMAND)
    assert output.read_text() == ""


def test_with_a_source_that_is_not_there(witness: tuple[SandboxSpec, Path], farm: Path) -> None:
    spec, output = witness
    missing = Mount(farm / "missing", PurePosixPath("/missing"))
    with pytest.raises(SandboxUnavailable, match="Can't find source path"):
        run_sandboxed(dataclasses.replace(spec, read_only=(*spec.read_only, missing)), COMMAND)
    assert output.read_text() == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's sandbox keeps its uid and may see its own files")
def test_with_a_source_that_the_slots_uid_cannot_reach(witness: tuple[SandboxSpec, Path], farm: Path) -> None:
    spec, output = witness
    closed = farm / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)
    mount = Mount(closed / "inner", PurePosixPath("/inner"))
    with pytest.raises(SandboxUnavailable, match="Permission denied"):
        run_sandboxed(dataclasses.replace(spec, read_only=(*spec.read_only, mount)), COMMAND)
    assert output.read_text() == ""


def test_a_command_that_is_not_there_is_no_result(spec: SandboxSpec) -> None:
    with pytest.raises(SandboxUnavailable, match="execvp"):
        run_sandboxed(spec, ("/usr/bin/no-such-command",))


def test_a_cgroup_that_is_not_delegated(witness: tuple[SandboxSpec, Path], farm: Path) -> None:
    spec, output = witness
    (farm / "cgroup").mkdir()
    (farm / "cgroup" / "cgroup.subtree_control").write_text("pids\n")
    with pytest.raises(SandboxUnavailable, match="does not delegate memory"):
        run_sandboxed(dataclasses.replace(spec, cgroup_parent=farm / "cgroup"), COMMAND)
    with pytest.raises(SandboxUnavailable, match="cannot be used"):
        run_sandboxed(dataclasses.replace(spec, cgroup_parent=farm / "nowhere"), COMMAND)
    assert output.read_text() == ""


def test_a_cgroups_bounds_are_those_of_the_run(spec: SandboxSpec, farm: Path) -> None:
    (farm / "cgroup").mkdir()
    (farm / "cgroup" / "cgroup.subtree_control").write_text("cpu memory pids\n")
    with own_cgroup(farm / "cgroup", name="slot", limits=spec.limits) as cgroup:
        assert cgroup is not None
        assert int((cgroup.folder / "memory.max").read_text()) == spec.limits.memory_bytes + spec.limits.scratch_bytes
        assert (cgroup.folder / "pids.max").read_text() == str(spec.limits.processes + 8)
        (cgroup.folder / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
        assert cgroup.killed_for_memory()
        for file in cgroup.folder.iterdir():  # on a real cgroup these are no files of ours
            file.unlink()
    assert list((farm / "cgroup").iterdir()) == [farm / "cgroup" / "cgroup.subtree_control"]


def test_a_run_joins_its_cgroup_before_it_starts_and_the_kernels_kill_is_its_end(
    spec: SandboxSpec, farm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in the place of a delegated cgroup: what is written to it, and what is read of it."""
    (farm / "cgroup").mkdir()
    (farm / "cgroup" / "cgroup.subtree_control").write_text("memory pids\n")
    make_folder, written = Path.mkdir, {}

    def as_the_kernel_makes_it(folder: Path, *arguments: Any, **options: Any) -> None:
        make_folder(folder, *arguments, **options)
        if folder.parent == farm / "cgroup":
            (folder / "memory.swap.max").write_text("max")
            (folder / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 1\n")

    def as_the_kernel_removes_it(folder: Path) -> None:
        written.update({path.name: path.read_text() for path in folder.iterdir()})
        shutil.rmtree(folder)

    monkeypatch.setattr(Path, "mkdir", as_the_kernel_makes_it)
    monkeypatch.setattr(cgroup, "_remove", as_the_kernel_removes_it)
    if spec.slot.uid is not None:
        (farm / "cgroup").chmod(0o700)  # joined while the launcher is still root
    result = run_sandboxed(dataclasses.replace(spec, cgroup_parent=farm / "cgroup"), (*COMMAND[:3], "exit 1"))
    assert (result.stop, result.exit_code, result.cgroup) == (Stop.MEMORY, None, True)
    assert int(written["cgroup.procs"]) > 1
    assert written["memory.oom.group"] == "1"
    assert written["memory.swap.max"] == "0"
    assert int(written["memory.max"]) == spec.limits.memory_bytes + spec.limits.scratch_bytes
    assert int(written["pids.max"]) == spec.limits.processes + 8


def test_a_cgroup_that_cannot_be_joined(witness: tuple[SandboxSpec, Path], farm: Path) -> None:
    spec, output = witness
    (farm / "cgroup").mkdir()
    (farm / "cgroup" / "cgroup.subtree_control").write_text("memory pids\n")
    name = f"keywright-slot-{spec.slot.number}-{os.getpid()}"

    def spoil(limits: Any, *, shared_uid: bool) -> dict[str, int]:
        (farm / "cgroup" / name / "cgroup.procs").mkdir()
        (farm / "cgroup" / name / "memory.events").write_text("oom_kill 0\n")
        return {}

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runner, "_resource_limits", spoil)
        patched.setattr(cgroup, "_remove", shutil.rmtree)
        with pytest.raises(SandboxUnavailable, match="the launcher ended with 125"):
            run_sandboxed(dataclasses.replace(spec, cgroup_parent=farm / "cgroup"), COMMAND)
    assert output.read_text() == ""


def test_an_unknown_architecture_has_no_filter() -> None:
    with pytest.raises(SandboxUnavailable, match="riscv64"):
        build_filter("riscv64")


def test_the_filters_jumps_stay_inside_the_program() -> None:
    for machine in ("x86_64", "aarch64"):
        program = build_filter(machine)
        assert len(program) % 8 == 0
        count = len(program) // 8
        assert count < 4096
        for position in range(count):
            code, on_true, on_false, _ = struct.unpack_from("<HBBI", program, position * 8)
            is_return = code == 0x06
            assert is_return or position + 1 + max(on_true, on_false) < count
        assert is_return


def test_inline_content_is_on_no_command_line(run_python: RunPython, spec: SandboxSpec) -> None:
    secret = InlineFile(PurePosixPath("/given/secret"), b"s3cr3t-constant")
    assert "s3cr3t" not in repr(dataclasses.replace(spec, inline_files=(secret,), redact=("s3cr3t-constant",)))
    result = run_python(
        "print(open('/given/secret').read())",
        under=dataclasses.replace(spec, inline_files=(secret,), redact=("s3cr3t-constant",)),
    )
    assert result.log.strip() == "[redacted]"
