"""Archives made by hand, good and bad."""

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Entry:
    """One member to write: kind is file, folder, link, or a tar type byte."""

    name: str
    content: bytes = b""
    kind: str = "file"
    target: str = ""
    pax: dict[str, str] = field(default_factory=dict)


TAR_KINDS = {"file": tarfile.REGTYPE, "folder": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}
ZIP_KINDS = {"file": stat.S_IFREG | 0o644, "folder": stat.S_IFDIR | 0o755, "link": stat.S_IFLNK | 0o777}


def tar_bytes(entries: list[Entry], fmt: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=fmt) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type = TAR_KINDS.get(entry.kind, entry.kind.encode())
            info.linkname = entry.target
            info.size = len(entry.content)
            info.pax_headers = entry.pax
            archive.addfile(info, io.BytesIO(entry.content))
    return stream.getvalue()


def zip_bytes(entries: list[Entry], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for entry in entries:
            info = zipfile.ZipInfo(entry.name + ("/" if entry.kind == "folder" else ""))
            info.compress_type = compression
            info.create_system = 3
            info.external_attr = ZIP_KINDS.get(entry.kind, stat.S_IFIFO | 0o644) << 16
            archive.writestr(info, entry.target.encode() if entry.kind == "link" else entry.content)
    return stream.getvalue()


MAKERS: dict[str, Callable[[list[Entry]], bytes]] = {
    "tar": tar_bytes,
    "tar.gz": lambda entries: gzip.compress(tar_bytes(entries), mtime=0),
    "gnu.tar": lambda entries: tar_bytes(entries, tarfile.GNU_FORMAT),
    "zip": zip_bytes,
}


@pytest.fixture(params=list(MAKERS))
def make_archive(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[list[Entry]], Path]:
    """Each test that uses this runs once for each kind of archive."""

    def make(entries: list[Entry]) -> Path:
        path = tmp_path / "archive"
        path.write_bytes(MAKERS[request.param](entries))
        return path

    return make


@pytest.fixture
def entry() -> type[Entry]:
    return Entry


@pytest.fixture
def make_tar() -> Callable[..., bytes]:
    return tar_bytes


@pytest.fixture
def make_zip() -> Callable[..., bytes]:
    return zip_bytes
