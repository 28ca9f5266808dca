"""One compile: from a laid-out source and one customer's constants to a file, its digest and its log."""

import hashlib
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from time import time

from build_farm.compile.customer_auth import EmbeddedConstants, generate_customer_auth
from build_farm.compile.go_command import SandboxSettings, build_command, build_sandbox
from build_farm.compile.source_tree import SourceTree
from build_farm.compile.toolchain import GoToolchain
from build_farm.compile.warm_cache import WarmCache
from build_farm.sandbox import BuildSlot, SandboxResult, Stop, run_sandboxed
from build_farm.sources import Capability, SourceRefused, scan_capabilities

_PIECE_BYTES = 1024 * 1024
_EXPLANATIONS = {
    Stop.WALL_CLOCK: "the compiler took longer than is allowed and was stopped",
    Stop.CPU: "the compiler used more CPU time than is allowed and was stopped",
    Stop.MEMORY: "the compiler used more memory than is allowed and was stopped",
    Stop.PROCESSES: "the compiler started more processes than are allowed and was stopped",
    Stop.CALLED_OFF: "the build was called off, and the compiler was stopped",
}


class CompileFailed(Exception):
    """The source did not compile within the bounds. `log` is for the vendor and holds no secret."""

    def __init__(self, summary: str, *, log: str, result: SandboxResult) -> None:
        super().__init__(summary)
        self.summary = summary
        self.log = log
        self.result = result


@dataclass(frozen=True)
class CompileRequest:
    """Everything that shapes the bytes of one binary, plus where to run and where to put it.

    `destination` is a path that does not exist yet. `target` is `os/arch` and equals `constants.target`. The compiler
    is killed once `called_off` is set.
    """

    tree: SourceTree
    toolchain: GoToolchain
    constants: EmbeddedConstants
    slot: BuildSlot
    cache: WarmCache
    kit_digest: str
    destination: Path
    settings: SandboxSettings = field(default_factory=SandboxSettings)
    called_off: threading.Event | None = None


@dataclass(frozen=True)
class CompiledBinary:
    """A finished binary: where it is, hex SHA-256, size, the compiler's log, and how the run went."""

    path: Path
    sha256: str
    size_bytes: int
    log: str
    result: SandboxResult


def compile_plugin(request: CompileRequest) -> CompiledBinary:
    """Compile one customer's binary.

    Raises:
        CompileFailed: the compiler said no or was stopped at a bound; the slot is fit for the next build.
        SandboxUnavailable: the sandbox could not be had, nothing ran.
    """
    target = request.constants.target
    output = request.slot.folder / "output"
    descriptor = create_output(output, request.slot)
    try:
        spec = build_sandbox(
            slot=request.slot,
            tree=request.tree,
            toolchain=request.toolchain,
            target=target,
            generated=generate_customer_auth(request.constants).encode(),
            cache=request.cache.overlay(
                toolchain=request.toolchain, target=target, kit_digest=request.kit_digest, tree=request.tree
            ),
            output=output,
            cache_stamp=int(time()),
            redact=request.constants.secrets(),
            settings=request.settings,
        )
        result = run_sandboxed(spec, build_command(request.tree), called_off=request.called_off)
        raise_if_failed(result, request.tree)
        if not os.fstat(descriptor).st_size:
            raise CompileFailed("the compiler wrote no binary", log=result.log, result=result)
        sha256, size = _take_output(descriptor, request.destination)
    finally:
        os.close(descriptor)
        output.unlink()
    return CompiledBinary(request.destination, sha256, size, result.log, result)


def create_output(path: Path, slot: BuildSlot) -> int:
    """Make the one file that the sandbox may write, and a descriptor of it that stays ours."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if slot.uid is not None:
        os.fchown(descriptor, slot.uid, slot.uid)
    return descriptor


def raise_if_failed(result: SandboxResult, tree: SourceTree) -> None:
    """Turn a run that made no binary into CompileFailed."""
    if result.succeeded:
        return
    summary = _EXPLANATIONS.get(result.stop, f"the compiler ended with exit code {result.exit_code}")
    lines = [*result.log.rstrip().splitlines(), *_cgo_hint(tree), summary, ""]
    raise CompileFailed(summary, log="\n".join(lines), result=result)


def _cgo_hint(tree: SourceTree) -> list[str]:
    """The go command leaves files that import "C" out without a word, and then misses what was in them."""
    try:
        uses = scan_capabilities(tree.root, module_path=tree.module_path, package=tree.package)
    except SourceRefused:
        return []
    places = [place for use in uses if use.capability is Capability.CGO for place in use.examples]
    return ["The build farm compiles without cgo, so these files were left out:", *places] if places else []


def _take_output(descriptor: int, destination: Path) -> tuple[str, int]:
    """Copy what was written (the sandbox is dead, so it stays as it is) to a file of our own, hashing it."""
    digest, size = hashlib.sha256(), 0
    target = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(target, "wb") as stream:
            while piece := os.pread(descriptor, _PIECE_BYTES, size):
                digest.update(piece)
                stream.write(piece)
                size += len(piece)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        destination.unlink()
        raise
    return digest.hexdigest(), size
