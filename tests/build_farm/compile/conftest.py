"""A real toolchain, the real kit, and one warm cache for every test of a machine."""

import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from build_farm.compile import (
    CompiledBinary,
    CompileRequest,
    EmbeddedConstants,
    GoKit,
    GoToolchain,
    SandboxSettings,
    SourceTree,
    WarmCache,
    WarmUp,
    compile_plugin,
    find_toolchain,
    lay_out_source,
    read_gokit,
)
from build_farm.sandbox import SandboxLimits, SlotPool
from build_farm.sources import open_release_source

REPOSITORY = Path(__file__).parents[3]
HOST = "linux/amd64" if os.uname().machine == "x86_64" else "linux/arm64"
MIB = 1024 * 1024
_LAYERS_KEPT = 5

MAIN = """package main

import (
	"encoding/json"
	"os"
)

func main() {
	json.NewEncoder(os.Stdout).Encode([]string{EmbeddedCustomerID, EmbeddedCustomerName, EmbeddedSecretKey})
}
"""


@pytest.fixture(scope="session")
def base_uid() -> int:
    """Uids of this process's own: a slot is not free while another test run has processes under its uid."""
    return 70_000 + os.getpid() % 1000 * 20 + 10


@pytest.fixture(scope="session")
def toolchain() -> GoToolchain:
    return find_toolchain()


@pytest.fixture(scope="session")
def kit() -> GoKit:
    return read_gokit(REPOSITORY / "build_farm" / "gokit")


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder that the slots' uids can pass through (pytest's own folders are closed to them)."""
    folder = Path(tempfile.mkdtemp(prefix="keywright-compile-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cache(place: Path, kit: GoKit, toolchain: GoToolchain, base_uid: int) -> WarmCache:
    """Compiling the standard library takes half a minute, so its layer is kept from one session to the next.

    It is named by toolchain, target and kit, so that a layer of something else is never taken for it.
    """
    folder = Path(tempfile.gettempdir()) / "keywright-test-cache"
    folder.mkdir(mode=0o755, exist_ok=True)
    cache = WarmCache(folder)
    with (folder / "lock").open("w") as lock, SlotPool(place / "warm-up", count=1, base_uid=base_uid).take() as slot:
        fcntl.flock(lock, fcntl.LOCK_EX)
        workplace = place / "base"
        workplace.mkdir(mode=0o711)
        WarmUp(cache=cache, kit=kit, toolchain=toolchain, slot=slot).warm_base(HOST, workplace=workplace)
        # Each edit of the kit leaves a layer behind; the newest are those that other runs may have mounted.
        for old in sorted(folder.glob("base-*"), key=lambda path: path.stat().st_ctime)[:-_LAYERS_KEPT]:
            shutil.rmtree(old)
    return cache


def constants(**changes: object) -> EmbeddedConstants:
    return replace(
        EmbeddedConstants(
            customer_id="cust_123",
            customer_name="Acme Corp",
            api_key_hash="sha256:" + "ab" * 32,
            secret_key="encrypted:c2VjcmV0LW9mLXRoZS1idWlsZA==",
            target_tier="Pro",
            authorized_features=("console_logging", "api_logging"),
            build_timestamp="1704967200",
            build_host="keywright",
            build_version="1.0.0",
            build_id="bld_1",
            plugin_name="x",
            plugin_version="1.0.0",
            target=HOST,
            authority_public_key="AAAA",
            issuer="https://licensing.example.com",
            server_url="https://licensing.example.com",
        ),
        **changes,  # type: ignore[arg-type]
    )


@dataclass
class Farm:
    """Lays sources out and compiles them, each time in a fresh folder and a slot from `pool`."""

    place: Path
    kit: GoKit
    toolchain: GoToolchain
    cache: WarmCache
    pool: SlotPool
    count: int = 0

    def fresh(self, name: str) -> Path:
        self.count += 1
        return self.place / f"{name}-{self.count}"

    def lay_out(self, files: dict[str, str], *, package: str = "cmd/x") -> SourceTree:
        root = self.fresh("source")
        files = {
            "keywright.toml": f'name = "x"\nversion = "1.0.0"\npackage = "{package}"\ntargets = ["{HOST}"]\n',
            "go.mod": "module example.com/x\n\ngo 1.25\n",
            **files,
        }
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return lay_out_source(open_release_source(root), self.kit)

    def compile(
        self,
        tree: SourceTree,
        *,
        limits: SandboxLimits | None = None,
        pool: SlotPool | None = None,
        called_off: threading.Event | None = None,
        **changes: object,
    ) -> CompiledBinary:
        with (pool or self.pool).take() as slot:
            return compile_plugin(
                CompileRequest(
                    tree=tree,
                    toolchain=self.toolchain,
                    constants=constants(**changes),
                    slot=slot,
                    cache=self.cache,
                    kit_digest=self.kit.digest,
                    destination=self.fresh("binary"),
                    settings=SandboxSettings(limits=limits or SandboxLimits(wall_seconds=90)),
                    called_off=called_off,
                )
            )


@pytest.fixture(scope="session")
def farm(place: Path, kit: GoKit, toolchain: GoToolchain, cache: WarmCache, base_uid: int) -> Farm:
    return Farm(place, kit, toolchain, cache, SlotPool(place / "slots", count=1, base_uid=base_uid + 1))


@pytest.fixture(scope="session")
def good_tree(farm: Farm) -> SourceTree:
    return farm.lay_out({"cmd/x/main.go": MAIN})


@pytest.fixture(scope="session")
def make_constants() -> Callable[..., EmbeddedConstants]:
    return constants


@pytest.fixture(scope="session")
def main_source() -> str:
    return MAIN
