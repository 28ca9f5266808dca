"""Unpacking: what is accepted gives exact files, what is refused is named and leaves nothing."""

import gzip
import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from build_farm.sources import ArchiveLimits, MemberRefused, SourceRefused, unpack_archive

Make = Callable[[list[Any]], Path]


def tree(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        found[name] = f"-> {path.readlink()}" if path.is_symlink() else "/" if path.is_dir() else path.read_text()
    return found


def test_files_folders_and_inner_links_come_out_exact(make_archive: Make, entry: Any, tmp_path: Path) -> None:
    long_name = "/".join(["d" * 60] * 5) + "/Größe.go"
    archive = make_archive(
        [
            entry("./go.mod", b"module x\n"),
            entry("cmd", kind="folder"),
            entry("cmd/tool/main.go", b"package main\n"),
            entry(long_name, b"long"),
            entry("empty", b""),
            entry("cmd/tool/linked.go", kind="link", target="../../go.mod"),
            entry("here", kind="link", target="cmd/tool"),
        ]
    )
    unpack_archive(archive, tmp_path / "out")
    files = {name: content for name, content in tree(tmp_path / "out").items() if content != "/"}
    assert files == {
        "go.mod": "module x\n",
        "cmd/tool/main.go": "package main\n",
        long_name: "long",
        "empty": "",
        "cmd/tool/linked.go": "-> ../../go.mod",
        "here": "-> cmd/tool",
    }
    assert {path.stat().st_mode & 0o7777 for path in (tmp_path / "out").rglob("*") if path.is_file()} == {0o644}
    assert {path.stat().st_mode & 0o7777 for path in (tmp_path / "out").rglob("*") if path.is_dir()} == {0o755}


BAD_NAMES = {
    "../escape": "leaves the archive",
    "a/../../escape": "leaves the archive",
    "a/..": "leaves the archive",
    "/etc/passwd": "absolute",
    "a//b": "empty or .",
    "a/./b": "empty or .",
    "-rf": "taken for a flag",
    "src/-ldflags=-X": "taken for a flag",
    "src/@args": "list of arguments",
    "tab\there": "control",
    "new\nline": "control",
    "escape\x1b[31m": "control",
    "right\u202eleft.go": "control",
    "back\\slash": "backslash",
    "C:\\windows": "backslash",
    "n" * 256: "longer than 255",
    "/".join(["d"] * 40): "nested deeper",
    "x/" * 20 + "y" * 200 + "/" + "z" * 200 + "/" + "w" * 250 + "/" + "v" * 250 + "/" + "u" * 250: "longer than 1024",
}


@pytest.mark.parametrize("name", BAD_NAMES, ids=range(len(BAD_NAMES)))
def test_a_bad_name_is_refused_by_name(make_archive: Make, entry: Any, tmp_path: Path, name: str) -> None:
    archive = make_archive([entry("good", b"x"), entry(name, b"x")])
    with pytest.raises(MemberRefused, match=BAD_NAMES[name]) as refusal:
        unpack_archive(archive, tmp_path / "out")
    assert refusal.value.member.isprintable()
    assert refusal.value.member[:3] == name[:3].encode("unicode_escape").decode()[:3] or "\\" in name
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive"]


BAD_LINKS = {
    "/etc/passwd": "absolute",
    "../../outside": "leaves the archive",
    "../..": "leaves the archive",
    "b/../../..": r"\.\. in its middle",
    "dot/..": r"\.\. in its middle",
    "..": "its own parents",
    ".": "its own folder",
    "": "empty",
    "-flag": "taken for a flag",
}


@pytest.mark.parametrize("target", BAD_LINKS)
def test_a_link_that_leaves_or_could_leave_is_refused(
    make_archive: Make, entry: Any, tmp_path: Path, target: str
) -> None:
    archive = make_archive([entry("folder/link", kind="link", target=target)])
    with pytest.raises(MemberRefused, match=BAD_LINKS[target]) as refusal:
        unpack_archive(archive, tmp_path / "out")
    assert refusal.value.member == "folder/link"
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_through_a_link(make_archive: Make, entry: Any, tmp_path: Path) -> None:
    archive = make_archive(
        [entry("real", kind="folder"), entry("way", kind="link", target="real"), entry("way/in", b"x")]
    )
    with pytest.raises(MemberRefused, match="way is a link, not a folder"):
        unpack_archive(archive, tmp_path / "out")


COLLISIONS = [
    ("main.go", "main.go", "twice"),
    ("main.go", "MAIN.go", "only in case"),
    ("Cmd/a.go", "cmd/b.go", "only in case"),
    ("caf\u00e9", "cafe\u0301", "only in case or Unicode"),
    ("stra\u00dfe", "strasse", "only in case"),
    ("file", "file/inner", "is a file, not a folder"),
]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("first", "second", "said"), COLLISIONS, ids=range(len(COLLISIONS)))
def test_two_members_for_one_place_are_refused(
    make_archive: Make, entry: Any, tmp_path: Path, first: str, second: str, said: str
) -> None:
    archive = make_archive([entry(first, b"1"), entry(second, b"2")])
    with pytest.raises(MemberRefused, match=said):
        unpack_archive(archive, tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "said"),
    [("1", "hard links"), ("3", "devices"), ("4", "devices"), ("6", "pipes"), ("S", "sparse"), ("V", "not allowed")],
)
def test_special_members_of_a_tar_are_refused(
    make_tar: Callable[..., bytes], entry: Any, tmp_path: Path, kind: str, said: str
) -> None:
    (tmp_path / "archive").write_bytes(make_tar([entry("special", kind=kind, target="other")]))
    with pytest.raises(MemberRefused, match=f"special: .*{said}"):
        unpack_archive(tmp_path / "archive", tmp_path / "out")


def test_a_pipe_in_a_zip_is_refused(make_zip: Callable[..., bytes], entry: Any, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(make_zip([entry("special", kind="pipe")]))
    with pytest.raises(MemberRefused, match="special: devices, pipes"):
        unpack_archive(tmp_path / "archive", tmp_path / "out")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (ArchiveLimits(file_bytes=1000), "big: the file is larger than 1000"),
        (ArchiveLimits(total_bytes=1000), "unfolds to more than"),
        (ArchiveLimits(members=2), "more than 2 members"),
        (ArchiveLimits(archive_bytes=10), "larger than 10 bytes"),
    ],
)
def test_every_bound_is_counted(
    make_archive: Make, entry: Any, tmp_path: Path, limits: ArchiveLimits, said: str
) -> None:
    entries = [entry("a", b"x"), entry("b", b"x"), entry("big", bytes(5000))]
    unpack_archive(
        make_archive(entries), tmp_path / "fits", ArchiveLimits(file_bytes=5000, total_bytes=5002, members=3)
    )
    with pytest.raises(SourceRefused, match=said):
        unpack_archive(make_archive(entries), tmp_path / "out", limits)
    assert not (tmp_path / "out").exists()


def test_folders_that_are_only_implied_count_as_members(make_archive: Make, entry: Any, tmp_path: Path) -> None:
    archive = make_archive([entry("/".join("abcdefgh"[: n + 1]) + f"/{n}", b"") for n in range(8)])
    with pytest.raises(SourceRefused, match="more than 10 members"):
        unpack_archive(archive, tmp_path / "out", ArchiveLimits(members=10))


def test_a_gzip_bomb_is_stopped_while_it_unfolds(make_tar: Callable[..., bytes], entry: Any, tmp_path: Path) -> None:
    bomb = gzip.compress(make_tar([entry("zeros", bytes(50_000_000))]))
    assert len(bomb) < 100_000
    (tmp_path / "archive").write_bytes(bomb)
    with pytest.raises(SourceRefused, match="zeros"):
        unpack_archive(tmp_path / "archive", tmp_path / "out", ArchiveLimits(file_bytes=1_000_000))


def test_a_bomb_in_the_headers_is_stopped(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 33
    (tmp_path / "archive").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    with pytest.raises(SourceRefused, match="extended header of the tar is longer"):
        unpack_archive(tmp_path / "archive", tmp_path / "out")


def test_chained_headers_are_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 0
    (tmp_path / "archive").write_bytes(header.tobuf(tarfile.USTAR_FORMAT) * 5000)
    with pytest.raises(SourceRefused, match="repeats an extended header"):
        unpack_archive(tmp_path / "archive", tmp_path / "out")


def test_a_zips_stated_size_is_not_believed(make_zip: Callable[..., bytes], entry: Any, tmp_path: Path) -> None:
    raw = bytearray(make_zip([entry("zeros", bytes(5_000_000))]))
    directory = raw.rfind(b"PK\x01\x02")
    struct.pack_into("<L", raw, directory + 24, 10)
    struct.pack_into("<L", raw, 22, 10)
    (tmp_path / "archive").write_bytes(raw)
    with pytest.raises(SourceRefused):
        unpack_archive(tmp_path / "archive", tmp_path / "out", ArchiveLimits(file_bytes=1000))
    assert not (tmp_path / "out").exists()


def test_a_zip_with_a_nul_in_a_name_is_refused(make_zip: Callable[..., bytes], entry: Any, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(make_zip([entry("go.modXevil", b"x")]).replace(b"go.modXevil", b"go.mod\0evil"))
    with pytest.raises(SourceRefused):
        unpack_archive(tmp_path / "archive", tmp_path / "out")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_compressed_in_a_rare_way_is_refused(
    make_zip: Callable[..., bytes], entry: Any, tmp_path: Path, compression: int
) -> None:
    (tmp_path / "archive").write_bytes(make_zip([entry("a", b"x" * 100)], compression))
    with pytest.raises(MemberRefused, match="only stored and deflated"):
        unpack_archive(tmp_path / "archive", tmp_path / "out")


def test_an_encrypted_zip_is_refused(make_zip: Callable[..., bytes], entry: Any, tmp_path: Path) -> None:
    raw = bytearray(make_zip([entry("a", b"x")]))
    raw[6] |= 1
    raw[raw.rfind(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "archive").write_bytes(raw)
    with pytest.raises(MemberRefused, match="encrypted"):
        unpack_archive(tmp_path / "archive", tmp_path / "out")


def test_a_directory_of_a_zip_that_is_too_long_is_not_read(
    make_zip: Callable[..., bytes], entry: Any, tmp_path: Path
) -> None:
    (tmp_path / "archive").write_bytes(make_zip([entry(f"{n}", b"") for n in range(50)]))
    with pytest.raises(SourceRefused, match="more than 20 members"):
        unpack_archive(tmp_path / "archive", tmp_path / "out", ArchiveLimits(members=20))


@pytest.mark.parametrize(
    "raw",
    [b"", b"plain text, no archive", bytes(100), b"PK\x03\x04" + bytes(50), b"\x1f\x8b" + bytes(50), os.urandom(2000)],
    ids=["empty", "text", "zeros", "zip", "gzip", "noise"],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "archive").write_bytes(raw)
    with pytest.raises(SourceRefused):
        unpack_archive(tmp_path / "archive", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_cut_archive_is_refused(make_archive: Make, entry: Any, tmp_path: Path) -> None:
    archive = make_archive([entry(f"file-{n}", os.urandom(300)) for n in range(3)])
    whole = archive.read_bytes()
    for length in range(1, len(whole.rstrip(b"\0")), 97):
        archive.write_bytes(whole[:length])
        with pytest.raises(SourceRefused):
            unpack_archive(archive, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_the_same_content_gives_the_same_tree_from_tar_and_zip(
    make_tar: Callable[..., bytes], make_zip: Callable[..., bytes], entry: Any, tmp_path: Path
) -> None:
    entries = [entry("a/b", b"1"), entry("c", b"2"), entry("d", kind="link", target="c")]
    for name, make in (("tar", make_tar), ("zip", make_zip)):
        (tmp_path / name).write_bytes(make(entries))
        unpack_archive(tmp_path / name, tmp_path / f"{name}-out")
    assert tree(tmp_path / "tar-out") == tree(tmp_path / "zip-out")


def test_a_git_archives_global_header_is_ignored_and_a_renaming_one_refused(tmp_path: Path) -> None:
    for headers, accepted in (({"comment": "0123abc"}, True), ({"path": "renamed"}, False)):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as archive:
            info = tarfile.TarInfo("file")
            archive.addfile(info, io.BytesIO())
        (tmp_path / "archive").write_bytes(stream.getvalue())
        if accepted:
            unpack_archive(tmp_path / "archive", tmp_path / "out")
            assert tree(tmp_path / "out") == {"file": ""}
        else:
            with pytest.raises(SourceRefused, match="renames its members"):
                unpack_archive(tmp_path / "archive", tmp_path / "other")
