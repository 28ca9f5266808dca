"""What a Go binary says of itself: the text that `go version -m` prints, read without Go.

Source: Go's `debug/buildinfo` (the inline format that Go 1.18 and later write) and `runtime/debug.BuildInfo.String`.
The binary is not trusted: every length is checked and everything is bounded.
"""

import re
from dataclasses import dataclass
from mmap import mmap

_MAGIC = b"\xff Go buildinf:"
_ALIGNMENT = 16
_HEADER_BYTES = 32
_INLINE_FLAG = 0x2
_SENTINEL_BYTES = 16  # around the module text
_MOST_BYTES = 1024 * 1024
_MOST_CANDIDATES = 64


class BuildInfoInvalid(Exception):
    """There is no build information in the binary, or it cannot be read."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module that was linked in; `sum` is its go.sum hash, empty for vendored and main modules without one."""

    path: str
    version: str
    sum: str = ""


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """The toolchain, the package, its module, the modules it depends on, and the settings it was compiled with."""

    go_version: str
    package: str
    main: Module | None
    dependencies: tuple[Module, ...]
    settings: tuple[tuple[str, str], ...]


def read_build_info(binary: bytes | mmap) -> BuildInfo:
    """Read the build information of an executable.

    Raises:
        BuildInfoInvalid: there is none, or it is malformed.
    """
    position = -1
    for _ in range(_MOST_CANDIDATES):
        position = binary.find(_MAGIC, position + 1)
        if position < 0:
            break
        if position % _ALIGNMENT:
            continue
        try:
            return _read_at(binary, position)
        except BuildInfoInvalid:
            continue  # the magic may stand anywhere as data
    raise BuildInfoInvalid("the binary has no readable Go build information")


def _read_at(binary: bytes | mmap, position: int) -> BuildInfo:
    header = bytes(binary[position : position + _HEADER_BYTES])
    if len(header) < _HEADER_BYTES or not header[15] & _INLINE_FLAG:
        raise BuildInfoInvalid("the build information is in a form that no supported toolchain writes")
    go_version, position = _text(binary, position + _HEADER_BYTES)
    framed, _ = _text(binary, position)
    if len(framed) < 2 * _SENTINEL_BYTES:
        raise BuildInfoInvalid("the build information names no modules")
    try:
        version, modules = go_version.decode("ascii"), framed[_SENTINEL_BYTES:-_SENTINEL_BYTES].decode("utf-8")
    except UnicodeDecodeError as exc:
        raise BuildInfoInvalid("the build information is not text") from exc
    if not re.fullmatch(r"[!-~ ]{1,100}", version):
        raise BuildInfoInvalid("the toolchain's version is malformed")
    return _parse(version, modules)


def _text(binary: bytes | mmap, position: int) -> tuple[bytes, int]:
    """A length as an unsigned varint, and so many bytes."""
    length, shift = 0, 0
    for _ in range(5):
        byte = binary[position : position + 1]
        if not byte:
            raise BuildInfoInvalid("the build information ends early")
        position += 1
        length |= (byte[0] & 0x7F) << shift
        shift += 7
        if not byte[0] & 0x80:
            break
    content = bytes(binary[position : position + length]) if length <= _MOST_BYTES else b""
    if len(content) != length:
        raise BuildInfoInvalid("the build information ends early")
    return content, position + length


def _parse(go_version: str, text: str) -> BuildInfo:
    package, main = "", None
    dependencies: list[Module] = []
    settings: list[tuple[str, str]] = []
    for line in text.splitlines():
        kind, *fields = line.split("\t")
        match kind, fields:
            case "path", [path]:
                package = path
            case "mod", [path, version, *rest]:
                main = Module(path, version, rest[0] if rest else "")
            case "dep", [path, version, *rest]:
                dependencies.append(Module(path, version, rest[0] if rest else ""))
            case "=>", [path, version, *rest] if dependencies:
                # What was really linked in, in place of the line before.
                dependencies[-1] = Module(path, version, rest[0] if rest else "")
            case "build", [setting]:
                name, _, value = setting.partition("=")
                settings.append((name, value))
    return BuildInfo(go_version, package, main, tuple(dependencies), tuple(settings))
