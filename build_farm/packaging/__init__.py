"""The package `<name>-<version>-<os>-<arch>.kmpkg`: written, read, and held against PluginAuthority (DESIGN §8).

Pure over bytes, keys and instants: no ORM, no settings, no clock. What signs is handed in (`build_farm.signing`).

Always holds: the same inputs and signatures give the same bytes; a reader believes no name, size or type of an archive;
a verifier checks a signature before it parses what is signed, and names what is wrong by one word.
"""

from build_farm.packaging.build_info import BuildInfo, BuildInfoInvalid, read_build_info
from build_farm.packaging.contents import PackageContents, assemble, package_filename
from build_farm.packaging.provenance import ProvenanceFacts
from build_farm.packaging.verification import PackageRefused, Reason, VerifiedPackage, verify_package

__all__ = [
    "BuildInfo",
    "BuildInfoInvalid",
    "PackageContents",
    "PackageRefused",
    "ProvenanceFacts",
    "Reason",
    "VerifiedPackage",
    "assemble",
    "package_filename",
    "read_build_info",
    "verify_package",
]
