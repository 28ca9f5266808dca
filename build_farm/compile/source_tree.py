"""Lays the kit into a release's source, once for all its customers.

What comes out is mounted read-only: `customer_auth.go` is an empty file in it, over which each build mounts its own.
"""

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from build_farm.compile.gokit_source import GoKit
from build_farm.sources.errors import SourceRefused
from build_farm.sources.go_module import KIT_MODULE, GoModule
from build_farm.sources.release_source import GENERATED_FILE, ReleaseSource

_LARGEST_MODULES_TXT = 4 * 1024 * 1024


@dataclass(frozen=True)
class SourceTree:
    """A source ready to compile. `digest` is over every path and content: two equal trees compile to equal bytes."""

    root: Path
    package: PurePosixPath
    module_path: str
    digest: str


def lay_out_source(source: ReleaseSource, kit: GoKit) -> SourceTree:
    """Change an unpacked source in place: the kit under vendor, go.mod and modules.txt naming it, the empty file.

    A kit that the vendor brought (to compile on its own machines) is replaced. Doing it again changes nothing.
    """
    vendor = source.root / "vendor"
    folder = vendor / KIT_MODULE
    if folder.exists():
        shutil.rmtree(folder)
    for name, content in kit.files.items():
        _make_folders(source.root, (folder / name).parent)
        _write(folder / name, content)
    _write(vendor / "modules.txt", _modules_txt(vendor / "modules.txt", kit).encode())
    _write(source.root / "go.mod", _go_mod(source.module, kit).encode())
    _write(source.root / source.manifest.package / GENERATED_FILE, b"")
    return SourceTree(
        root=source.root,
        package=source.manifest.package,
        module_path=source.module.path,
        digest=_digest(source.root),
    )


def _make_folders(root: Path, folder: Path) -> None:
    """Make `folder` below `root`, open to the slots' uids whatever the umask."""
    path = root
    for part in folder.relative_to(root).parts:
        path /= part
        if not path.exists():
            path.mkdir()
            path.chmod(0o755)


def _write(path: Path, content: bytes) -> None:
    """Replace the file at `path`, never what a link at `path` points to."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(descriptor, 0o644)
        stream.write(content)


def _go_mod(module: GoModule, kit: GoKit) -> str:
    """go.mod again from what was parsed, with the kit required at the farm's version."""
    lines = []
    for directive in module.directives:
        if directive.verb in ("require", "replace", "exclude") and directive.words[:1] == (KIT_MODULE,):
            continue
        words = " ".join(map(_go_mod_word, directive.words))
        lines.append(f"{directive.verb} {words} {directive.comment}".rstrip())
    return "\n".join([*lines, f"require {KIT_MODULE} {kit.version}", ""])


def _go_mod_word(word: str) -> str:
    return word if re.fullmatch(r"[^\s()\[\],\"`]+|=>|[\[\](),]", word) else f'"{word}"'


def _modules_txt(path: Path, kit: GoKit) -> str:
    """vendor/modules.txt without any entry for the kit, and with ours (Go Modules Reference, "Vendoring")."""
    kept: list[str] = []
    is_kits = False
    if path.exists():
        if path.stat().st_size > _LARGEST_MODULES_TXT:
            raise SourceRefused("vendor/modules.txt is too large")
        for line in path.read_text("utf-8", "strict").splitlines():
            if line.startswith("# "):
                is_kits = line.split()[1:2] == [KIT_MODULE]
            if not is_kits:
                kept.append(line)
    ours = [f"# {KIT_MODULE} {kit.version}", f"## explicit; go {kit.go_version}", *kit.packages]
    return "\n".join([*kept, *ours, ""])


def _digest(root: Path) -> str:
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(root):
        folders.sort()
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted([*names, *links]):
            path = Path(folder) / name
            # Names hold no line breaks (sources.names), so no two trees give the same lines.
            digest.update(f"{_content(path)} {path.relative_to(root).as_posix()}\n".encode())
    return digest.hexdigest()


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"link:{hashlib.sha256(os.fsencode(path.readlink())).hexdigest()}"
    with path.open("rb") as stream:
        return f"file:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
