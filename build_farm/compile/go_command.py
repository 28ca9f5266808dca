"""The sandbox as the Go compiler sees it: fixed paths, fixed environment."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from build_farm.compile.source_tree import SourceTree
from build_farm.compile.toolchain import GoToolchain
from build_farm.sandbox import (
    BuildSlot,
    InlineFile,
    Mount,
    Overlay,
    SandboxLimits,
    SandboxResult,
    SandboxSpec,
    run_sandboxed,
)
from build_farm.sources.release_source import GENERATED_FILE

GOROOT = PurePosixPath("/go")
SOURCE = PurePosixPath("/src")
CACHE = PurePosixPath("/cache")
OUTPUT = PurePosixPath("/out/plugin")
_SCRATCH = "/tmp"  # noqa: S108 - the sandbox's own


@dataclass(frozen=True)
class SandboxSettings:
    """What the deployment decides about sandboxes."""

    limits: SandboxLimits = SandboxLimits()  # noqa: RUF009 - frozen
    bubblewrap: Path | None = None
    cgroup_parent: Path | None = None


def go_environment(target: str) -> MappingProxyType[str, str]:
    """Everything the go command reads from its environment, set: nothing is left to a default of this machine.

    HOME is not set, so there is no user configuration and no telemetry. GOAMD64 and GOARM64 are the baselines.
    """
    system, arch = target.split("/")
    return MappingProxyType(
        {
            "CGO_ENABLED": "0",
            "GO111MODULE": "on",
            "GOAMD64": "v1",
            "GOARCH": arch,
            "GOARM64": "v8.0",
            "GOCACHE": str(CACHE),
            "GOENV": "off",
            "GOFLAGS": "-mod=vendor -trimpath -buildvcs=false",
            "GOMODCACHE": f"{_SCRATCH}/modules",
            "GOOS": system,
            "GOPATH": f"{_SCRATCH}/gopath",
            "GOPROXY": "off",
            "GOROOT": str(GOROOT),
            "GOSUMDB": "off",
            "GOTMPDIR": _SCRATCH,
            "GOTOOLCHAIN": "local",
            "GOVCS": "*:off",
            "GOWORK": "off",
            "PATH": f"{GOROOT}/bin",
        }
    )


def build_command(tree: SourceTree) -> tuple[str, ...]:
    """`go build` of the tree's package into the output file. No value of a build is on it."""
    return (f"{GOROOT}/bin/go", "build", "-o", str(OUTPUT), "--", f"./{tree.package}")


def build_sandbox(
    *,
    slot: BuildSlot,
    tree: SourceTree,
    toolchain: GoToolchain,
    target: str,
    generated: bytes,
    cache: Overlay,
    output: Path,
    cache_stamp: int,
    redact: tuple[str, ...],
    settings: SandboxSettings,
) -> SandboxSpec:
    """The sandbox for one `go build`: toolchain and source read-only, the cache in layers, one file to write.

    `cache_stamp` (Unix seconds, now) tells the go command that its cache was tidied just now, so it does not start to.
    """
    return SandboxSpec(
        slot=slot,
        scratch=_made(slot.folder / "scratch"),
        read_only=(Mount(toolchain.root, GOROOT), Mount(tree.root, SOURCE)),
        overlays=(cache,),
        inline_files=(
            InlineFile(SOURCE / tree.package / GENERATED_FILE, generated),
            InlineFile(CACHE / "trim.txt", str(cache_stamp).encode()),
        ),
        writable_files=(Mount(output, OUTPUT),),
        environment=go_environment(target),
        workdir=SOURCE,
        limits=settings.limits,
        redact=redact,
        cgroup_parent=settings.cgroup_parent,
        bubblewrap=settings.bubblewrap,
    )


def probe_compiler(*, slot: BuildSlot, toolchain: GoToolchain, settings: SandboxSettings) -> SandboxResult:
    """Run `go version` as a build would be run: the health check of sandbox and toolchain.

    Raises:
        SandboxUnavailable: the sandbox cannot be had here, and why.
    """
    spec = SandboxSpec(
        slot=slot,
        scratch=_made(slot.folder / "scratch"),
        read_only=(Mount(toolchain.root, GOROOT),),
        environment=go_environment("linux/amd64"),
        limits=settings.limits,
        cgroup_parent=settings.cgroup_parent,
        bubblewrap=settings.bubblewrap,
    )
    return run_sandboxed(spec, (f"{GOROOT}/bin/go", "version"))


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o755, exist_ok=True)
    folder.chmod(0o755)
    return folder
