"""Takes in a vendor's source archive: bounded, unpacked safely, its manifest read, its imports compared with it.

Owns: archive reading, `keywright.toml`, `go.mod`, and what the Go files import. Pure over files and bytes: no ORM, no
settings, and nothing of an archive is ever executed here. Nothing that an archive says is believed before it is
checked: names, sizes, types, links.

Always holds: an error names the member or the field and the reason; a refused archive leaves no file behind; nothing
is written outside the folder given; memory and disk used are bounded by `ArchiveLimits`, not by the archive.
"""

from build_farm.sources.archive import unpack_archive
from build_farm.sources.capabilities import Capability, CapabilityUse, scan_capabilities, undeclared
from build_farm.sources.errors import GoModuleRefused, ManifestRefused, MemberRefused, SourceRefused
from build_farm.sources.go_module import GoModule, parse_go_module
from build_farm.sources.limits import ArchiveLimits
from build_farm.sources.manifest import Permission, SourceManifest, parse_manifest
from build_farm.sources.release_source import ReleaseSource, open_release_source
from build_farm.sources.upload import StoredUpload, store_upload

__all__ = [
    "ArchiveLimits",
    "Capability",
    "CapabilityUse",
    "GoModule",
    "GoModuleRefused",
    "ManifestRefused",
    "MemberRefused",
    "Permission",
    "ReleaseSource",
    "SourceManifest",
    "SourceRefused",
    "StoredUpload",
    "open_release_source",
    "parse_go_module",
    "parse_manifest",
    "scan_capabilities",
    "store_upload",
    "undeclared",
    "unpack_archive",
]
