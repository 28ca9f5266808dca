"""Bytes that look like a Go binary to whoever reads its build information, and like nothing to a kernel."""

_SENTINEL = b"\x30\x77\xaf\x0c\x92\x74\x08\x02\x41\xe1\xc1\x07\xe6\xd6\x18\xe6"
_END = b"\xf9\x32\x43\x31\x86\x18\x20\x72\x00\x82\x42\x10\x41\x16\xd8\xf2"
MODULES = (
    "path\texample.com/x\n"
    "mod\texample.com/x\t(devel)\t\n"
    "dep\texample.com/lib\tv1.2.3\th1:abc=\n"
    "dep\texample.com/old\tv0.1.0\n"
    "=>\texample.com/new\tv0.2.0\th1:def=\n"
    "build\t-trimpath=true\n"
    "build\tCGO_ENABLED=0\n"
    "build\tGOOS=linux\n"
)


def go_binary(*, version: str = "go1.27.0", modules: str = MODULES, filling: bytes = b"") -> bytes:
    """A fake binary; `filling` makes it another one."""
    start = b"\x7fELF" + filling
    start += b"\0" * (-len(start) % 16)
    header = b"\xff Go buildinf:" + bytes([8, 2])
    header += b"\0" * (32 - len(header))
    framed = _SENTINEL + modules.encode() + _END
    return start + header + _varint(len(version)) + version.encode() + _varint(len(framed)) + framed + b"\0" * 64


def _varint(number: int) -> bytes:
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
