"""The farm-owned jobs that write the warm cache. Never run for a customer: the constants are placeholders."""

import os
import shutil
import threading
from dataclasses import dataclass, field, fields
from pathlib import Path
from time import time

from build_farm.compile.binary import create_output, raise_if_failed
from build_farm.compile.customer_auth import EmbeddedConstants, generate_customer_auth
from build_farm.compile.go_command import CACHE, SandboxSettings, build_command, build_sandbox
from build_farm.compile.gokit_source import GoKit
from build_farm.compile.source_tree import SourceTree, lay_out_source
from build_farm.compile.toolchain import GoToolchain
from build_farm.compile.warm_cache import CACHE_FOLDERS, WarmCache, base_key, release_key
from build_farm.sandbox import BuildSlot, Overlay, SandboxResult, run_sandboxed
from build_farm.sources.go_module import parse_go_module
from build_farm.sources.manifest import parse_manifest
from build_farm.sources.release_source import ReleaseSource

_BASE_MANIFEST = b'name = "warm-up"\nversion = "1.0.0"\ntargets = ["linux/amd64"]\n'


@dataclass(frozen=True)
class WarmUp:
    """What all warm-up jobs on one machine share. `slot` is taken for them as for any build."""

    cache: WarmCache
    kit: GoKit
    toolchain: GoToolchain
    slot: BuildSlot
    settings: SandboxSettings = field(default_factory=SandboxSettings)
    called_off: threading.Event | None = None

    def warm_base(self, target: str, *, workplace: Path) -> SandboxResult | None:
        """Compile the standard library and the kit for `target`; None if that layer is there already.

        `workplace` is an empty folder that the slot's uid can reach.

        Raises:
            CompileFailed: it did not compile.
        """
        key = base_key(toolchain=self.toolchain, target=target, kit_digest=self.kit.digest)
        if self.cache.has(key):
            return None
        return self._run(self._own_program(workplace), target, layers_of=None, key=key)

    def warm_release(self, tree: SourceTree, target: str) -> SandboxResult | None:
        """Compile a release's own packages on top of the base layer; None if that layer is there already.

        Raises:
            CompileFailed: it did not compile.
        """
        base = base_key(toolchain=self.toolchain, target=target, kit_digest=self.kit.digest)
        key = release_key(base, tree)
        if self.cache.has(key):
            return None
        return self._run(tree, target, layers_of=tree, key=key)

    def _own_program(self, workplace: Path) -> SourceTree:
        root = workplace / "warm-up"
        root.mkdir()
        root.chmod(0o755)
        (root / "main.go").write_text("package main\n\nfunc main() {}\n")
        (root / "main.go").chmod(0o644)
        go_mod = f"module keywright.dev/warm-up\n\ngo {self.kit.go_version}\n".encode()
        source = ReleaseSource(root=root, manifest=parse_manifest(_BASE_MANIFEST), module=parse_go_module(go_mod))
        return lay_out_source(source, self.kit)

    def _run(self, tree: SourceTree, target: str, *, layers_of: SourceTree | None, key: str) -> SandboxResult:
        written = self._writable_folder()
        output = self.slot.folder / "output"
        below = self.cache.overlay(toolchain=self.toolchain, target=target, kit_digest=self.kit.digest, tree=layers_of)
        descriptor = create_output(output, self.slot)
        try:
            spec = build_sandbox(
                slot=self.slot,
                tree=tree,
                toolchain=self.toolchain,
                target=target,
                generated=generate_customer_auth(_placeholders(target)).encode(),
                cache=Overlay(layers=below.layers, target=CACHE, kept_in=written),
                output=output,
                cache_stamp=int(time()),
                redact=(),
                settings=self.settings,
            )
            result = run_sandboxed(spec, build_command(tree), called_off=self.called_off)
            raise_if_failed(result, tree)
            self.cache.adopt(written / "upper", key)
        finally:
            os.close(descriptor)
            output.unlink()
            shutil.rmtree(written)
        return result

    def _writable_folder(self) -> Path:
        written = self.slot.folder / "written"
        upper = written / "upper"
        for folder in (written, written / "work", upper, *(upper / name for name in CACHE_FOLDERS)):
            folder.mkdir(mode=0o700)
            if self.slot.uid is not None:
                os.chown(folder, self.slot.uid, self.slot.uid)
        return written


def _placeholders(target: str) -> EmbeddedConstants:
    """The names that a plugin's own code may use, with nothing in them."""
    blank = {each.name: "" for each in fields(EmbeddedConstants) if each.name not in ("target", "authorized_features")}
    return EmbeddedConstants(**blank, target=target, authorized_features=())
