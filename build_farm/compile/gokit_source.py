"""The kit as it is laid into a plugin's source: its Go files without tests, and a digest over them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from build_farm.sources.go_module import KIT_MODULE, parse_kit_go_version

KIT_VERSION = "v1.0.0"


@dataclass(frozen=True)
class GoKit:
    """`files` by path below the module; `digest` is the hex SHA-256 over all names and contents."""

    version: str
    go_version: str
    files: Mapping[str, bytes]
    digest: str

    @property
    def packages(self) -> tuple[str, ...]:
        """Import paths of the kit's packages, sorted."""
        folders = {path.rpartition("/")[0] for path in self.files}
        return tuple(sorted(f"{KIT_MODULE}/{folder}" if folder else KIT_MODULE for folder in folders))


def read_gokit(folder: Path, *, version: str = KIT_VERSION) -> GoKit:
    """Read the kit from its source folder. Tests, test data and hidden files are not part of it."""
    files: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*.go")):
        relative = path.relative_to(folder)
        if path.name.endswith("_test.go") or any(
            part.startswith((".", "_")) or part == "testdata" for part in relative.parts
        ):
            continue
        files[relative.as_posix()] = path.read_bytes()
    if not files:
        raise FileNotFoundError(f"no Go files of the kit in {folder}")
    listing = json.dumps({name: hashlib.sha256(content).hexdigest() for name, content in files.items()}, sort_keys=True)
    return GoKit(
        version=version,
        go_version=parse_kit_go_version((folder / "go.mod").read_bytes()),
        files=MappingProxyType(files),
        digest=hashlib.sha256(f"{version}\n{listing}".encode()).hexdigest(),
    )
