"""The bill of materials: CycloneDX 1.6 in JSON, from what the binary says of itself."""

import json
import uuid
from datetime import datetime
from typing import Final

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from build_farm.packaging.build_info import BuildInfo, Module

_SERIAL_SPACE: Final = uuid.UUID("6f0f3ad4-53d2-5a4e-9c7e-2d5f7b1f6a10")
# Settings that say how it was compiled; anything else could one day be an environment's value.
_SHOWN_SETTINGS: Final = ("-buildmode", "-compiler", "-trimpath", "CGO_ENABLED", "GOARCH", "GOOS", "GOAMD64", "GOARM64")


def bill_of_materials(
    info: BuildInfo, *, build_id: str, plugin: str, version: str, binary_sha256: str, build_time: datetime
) -> bytes:
    """The document in UTF-8, the same for the same build. `build_time` is aware."""
    main = Component(
        name=plugin,
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref=plugin,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=binary_sha256)],
        properties=[
            Property(name=f"go:build:{name}", value=value) for name, value in info.settings if name in _SHOWN_SETTINGS
        ],
    )
    bom = Bom(serial_number=uuid.uuid5(_SERIAL_SPACE, build_id))
    bom.metadata.timestamp = build_time
    bom.metadata.component = main
    toolchain = Component(
        name="go", version=info.go_version.removeprefix("go"), type=ComponentType.FRAMEWORK, bom_ref="go"
    )
    dependencies = [toolchain, *(_library(module) for module in info.dependencies)]
    for component in dependencies:
        bom.components.add(component)
    bom.register_dependency(main, dependencies)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    return json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode("utf-8")


def _library(module: Module) -> Component:
    namespace, _, name = module.path.rpartition("/")
    purl = PackageURL(type="golang", namespace=namespace or None, name=name, version=module.version)
    return Component(
        name=module.path,
        version=module.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{module.path}@{module.version}",
        purl=purl,
    )
