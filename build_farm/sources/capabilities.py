"""What a plugin's source could do, by what it imports, against what its manifest declares.

Read from the text, not asked of `go list`: the web process can do it at upload without toolchain or sandbox, and
files for every target and build tag count at once, where `go list` answers for one. It errs to one side only: a file
that no target compiles is still reported. Everything reachable from the package counts, vendored modules
included, but not the standard library's own insides and not the kit, which the farm brings.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from build_farm.sources.errors import SourceRefused
from build_farm.sources.go_module import KIT_MODULE
from build_farm.sources.go_tokens import GoFile, read_go_file
from build_farm.sources.manifest import SourceManifest

_MOST_EXAMPLES = 5
_LARGEST_FILE_BYTES = 8 * 1024 * 1024
_MOST_BYTES = 64 * 1024 * 1024


class Capability(StrEnum):
    """A class of things that code can do to the machine it runs on."""

    NETWORK = "network"
    FILESYSTEM = "filesystem"
    EXEC = "exec"
    UNSAFE = "unsafe"
    CGO = "cgo"


@dataclass(frozen=True)
class CapabilityUse:
    """A capability that the source has, and up to five places (`file: reason`) that show it."""

    capability: Capability
    examples: tuple[str, ...]


_EVERYTHING = (Capability.NETWORK, Capability.FILESYSTEM, Capability.EXEC, Capability.UNSAFE)
_BY_IMPORT: dict[str, tuple[Capability, ...]] = {
    "C": (Capability.CGO,),
    "runtime/cgo": (Capability.CGO,),
    "unsafe": (Capability.UNSAFE,),
    "syscall": _EVERYTHING,
    "net": (Capability.NETWORK,),
    "crypto/tls": (Capability.NETWORK,),
    "log/syslog": (Capability.NETWORK,),
    "os/exec": (Capability.EXEC,),
    "plugin": (Capability.EXEC, Capability.FILESYSTEM),
    "io/ioutil": (Capability.FILESYSTEM,),
    "os/user": (Capability.FILESYSTEM,),
    "go/build": (Capability.FILESYSTEM, Capability.EXEC),
    "go/importer": (Capability.FILESYSTEM, Capability.EXEC),
    "net/http/cgi": (Capability.NETWORK, Capability.EXEC),
    "expvar": (Capability.NETWORK,),
}
_PURE_NET = {"net/url", "net/netip", "net/mail"}
# Names of packages that are too common to count as a whole; every name that is not listed counts.
_HARMLESS_NAMES = {
    "os": {
        *(
            "Stdin",
            "Stdout",
            "Stderr",
            "Args",
            "Exit",
            "Getenv",
            "LookupEnv",
            "Environ",
            "Setenv",
            "Unsetenv",
            "Expand",
        ),
        *("ExpandEnv", "Signal", "Interrupt", "Kill", "Getpid", "Getppid", "Getuid", "Geteuid", "Hostname", "File"),
        *("ErrNotExist", "ErrExist", "ErrPermission", "ErrInvalid", "ErrClosed", "ErrDeadlineExceeded", "IsNotExist"),
        *("IsExist", "IsPermission", "IsTimeout", "PathError", "SyscallError", "FileInfo", "FileMode", "DirEntry"),
        *("ErrProcessDone", "Getpagesize", "PathSeparator", "DevNull", "ModePerm", "O_RDONLY"),
    },
    "path/filepath": {
        *("Join", "Base", "Dir", "Ext", "Clean", "Split", "SplitList", "IsAbs", "IsLocal", "Localize", "Match", "Rel"),
        *("ToSlash", "FromSlash", "VolumeName", "Separator", "ListSeparator", "SkipDir", "SkipAll", "ErrBadPattern"),
    },
}
# Functions and methods that open files by name, of packages that are harmless otherwise.
_OPENING_METHODS = {
    "archive/zip": {"OpenReader"},
    "debug/buildinfo": {"ReadFile"},
    "debug/elf": {"Open"},
    "debug/macho": {"Open", "OpenFat"},
    "debug/pe": {"Open"},
    "go/parser": {"ParseFile", "ParseDir"},
    "html/template": {"ParseFiles", "ParseGlob"},
    "text/template": {"ParseFiles", "ParseGlob"},
}
_WATCHED_METHODS = frozenset(name for names in _OPENING_METHODS.values() for name in names)
_WATCHED = frozenset(_HARMLESS_NAMES)
_EXEC_NAMES = {"StartProcess", "FindProcess", "ProcAttr", "Process", "ProcessState"}


def scan_capabilities(root: Path, *, module_path: str, package: PurePosixPath) -> tuple[CapabilityUse, ...]:
    """The capabilities of all code reachable from `package` (relative to `root`), in the order of `Capability`."""
    found: dict[Capability, list[str]] = defaultdict(list)
    waiting = [root / package]
    seen = set(waiting)
    bytes_left = _MOST_BYTES
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            if not path.is_file():
                continue
            where = path.relative_to(root).as_posix()
            for capability, reason in _of_file_name(path):
                found[capability].append(f"{where}: {reason}")
            if not _is_go_source(path):
                continue
            source = _text(path)
            bytes_left -= len(source)
            if bytes_left < 0:
                raise SourceRefused(f"there is more Go source than {_MOST_BYTES} bytes")
            go_file = read_go_file(source, watched=_WATCHED, watched_methods=_WATCHED_METHODS)
            for capability, reason in _of_go_file(go_file):
                found[capability].append(f"{where}: {reason}")
            for _, imported in go_file.imports:
                folder = _folder_of(root, module_path, imported)
                if folder is not None and folder not in seen:
                    seen.add(folder)
                    waiting.append(folder)
    return tuple(
        CapabilityUse(capability, tuple(found[capability][:_MOST_EXAMPLES]))
        for capability in Capability
        if capability in found
    )


def undeclared(uses: tuple[CapabilityUse, ...], manifest: SourceManifest) -> tuple[CapabilityUse, ...]:
    """Those of `uses` that the manifest does not declare."""
    return tuple(use for use in uses if not _is_declared(use.capability, manifest))


def _is_declared(capability: Capability, manifest: SourceManifest) -> bool:
    for name, flags in manifest.permission_flags.items():
        if _covers(name, capability) and any(value not in (False, (), "none") for value in flags.values()):
            return True
    matching = [entry for entry in manifest.permissions if _covers(entry.resource, capability)]
    if any(entry.effect == "deny" and "*" in entry.actions for entry in matching):
        return False
    return any(entry.effect == "allow" and set(entry.actions) != {"none"} for entry in matching)


def _covers(resource: str, capability: Capability) -> bool:
    return fnmatchcase(capability.value, resource) or resource.startswith((f"{capability}.", f"{capability}:"))


def _is_go_source(path: Path) -> bool:
    # Files that begin with _ or . and tests are in no build.
    return path.suffix == ".go" and not path.name.endswith("_test.go") and path.name[0] not in "_."


def _text(path: Path) -> str:
    if path.stat().st_size > _LARGEST_FILE_BYTES:
        raise SourceRefused(f"{path.name}: the file is too large to be read for its imports")
    return path.read_bytes().decode("utf-8", "replace")


def _of_file_name(path: Path) -> Iterator[tuple[Capability, str]]:
    if path.name[0] in "_.":
        return
    if path.suffix in (".s", ".S", ".sx"):
        yield Capability.UNSAFE, "an assembly file"
    elif path.suffix in (".syso", ".c", ".cc", ".cpp", ".cxx", ".m", ".f", ".F", ".for", ".f90", ".swig", ".swigcxx"):
        yield Capability.CGO, "a file that is not Go"


def _of_go_file(go_file: GoFile) -> Iterator[tuple[Capability, str]]:
    for directive in sorted(go_file.directives):
        if directive.startswith("go:cgo_") or directive in ("export", "#cgo"):
            yield Capability.CGO, f"the directive {directive}"
        elif directive in ("go:linkname", "go:wasmimport", "go:wasmexport"):
            yield Capability.UNSAFE, f"the directive {directive}"
    for local_name, path in go_file.imports:
        for capability in _of_import(path):
            yield capability, f"imports {path}"
        if path in _HARMLESS_NAMES:
            yield from _of_names(go_file, local_name, path)
        for name in sorted(go_file.methods & _OPENING_METHODS.get(path, set())):
            yield Capability.FILESYSTEM, f"uses {path}: {name}"


def _of_import(path: str) -> tuple[Capability, ...]:
    if path in _BY_IMPORT:
        return _BY_IMPORT[path]
    if path.startswith("net/") and path not in _PURE_NET:
        return (Capability.NETWORK,)
    if path.startswith("golang.org/x/sys/"):
        return _EVERYTHING
    return ()


def _of_names(go_file: GoFile, local_name: str, path: str) -> Iterator[tuple[Capability, str]]:
    if local_name == ".":
        yield Capability.FILESYSTEM, f"imports all names of {path}"
        yield Capability.EXEC, f"imports all names of {path}"
    for name in sorted(go_file.selected.get(path, ())):
        if path == "os" and name in _EXEC_NAMES:
            yield Capability.EXEC, f"uses {path}.{name}"
        elif name not in _HARMLESS_NAMES[path]:
            yield Capability.FILESYSTEM, f"uses {path}.{name}"


def _folder_of(root: Path, module_path: str, imported: str) -> Path | None:
    """The folder of an imported package, or None for the standard library's and the kit's."""
    if imported == KIT_MODULE or imported.startswith(f"{KIT_MODULE}/") or ".." in imported.split("/"):
        return None
    if imported == module_path or imported.startswith(f"{module_path}/"):
        folder = root / imported.removeprefix(module_path).lstrip("/")
    else:
        folder = root / "vendor" / imported.lstrip("/")
    return folder if folder.is_dir() else None
