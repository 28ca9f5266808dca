"""The Go code that is compiled into plugins: vetted, tested, free of races, and made of nothing but its own source."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import build_farm
from build_farm.compile.customer_auth import EmbeddedConstants, generate_customer_auth
from build_farm.compile.gokit_source import KIT_VERSION, read_gokit
from build_farm.compile.source_tree import lay_out_source
from build_farm.compile.toolchain import find_toolchain
from build_farm.sources.capabilities import Capability, scan_capabilities, undeclared
from build_farm.sources.manifest import TARGETS
from build_farm.sources.release_source import ReleaseSource, open_release_source

FARM = Path(build_farm.__file__).parent
KIT = FARM / "gokit"
DEMO = FARM / "demo" / "api-logger"
DOCS = FARM.parent / "docs" / "gokit.md"

Go = Callable[..., str]


@pytest.fixture(scope="session")
def go(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Go:
    """Runs the go command in a folder, without network; compiled packages are kept from run to run."""
    root = find_toolchain().root
    home = tmp_path_factory.mktemp("go-home")
    environment = {
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "GOCACHE": str(pytestconfig.cache.mkdir("go-build")) if pytestconfig.cache else str(home / "cache"),
        "GOPATH": str(home / "gopath"),
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOENV": "off",
        "GOFLAGS": "",
    }

    def run(folder: Path, *arguments: str, **settings: str) -> str:
        done = subprocess.run(
            [root / "bin" / "go", *arguments],
            cwd=folder,
            env=environment | settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=540,
        )
        assert done.returncode == 0, f"go {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def demo_source(tmp_path: Path) -> ReleaseSource:
    """A copy of the demo plugin's source, read as an upload is."""
    shutil.copytree(DEMO, tmp_path / "api-logger")
    return open_release_source(tmp_path / "api-logger")


@pytest.fixture
def demo_tree(demo_source: ReleaseSource) -> Path:
    """The same with the kit laid in; customer_auth.go is left to the caller."""
    tree = lay_out_source(demo_source, read_gokit(KIT))
    (tree.root / tree.package / "customer_auth.go").unlink()
    return tree.root


def test_kit_vet_is_clean(go: Go) -> None:
    go(KIT, "vet", "./...", CGO_ENABLED="0")


@pytest.mark.slow
def test_kit_vet_is_clean_on_windows(go: Go) -> None:
    """The one system with a file of its own."""
    go(KIT, "vet", "./...", GOOS="windows", CGO_ENABLED="0")


@pytest.mark.slow
def test_kit_tests_pass(go: Go) -> None:
    assert go(KIT, "test", "-mod=readonly", "./...", CGO_ENABLED="0").startswith("ok")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="the race detector needs a C compiler")
def test_kit_has_no_data_race(go: Go) -> None:
    """The tests in which more than one goroutine is at work."""
    chosen = "Readers|Listener|Close|Kept|RefreshEvery|Restart|Usage|Deactivate|Validate"
    go(KIT, "test", "-race", "-run", chosen, "./...", CGO_ENABLED="1")


def test_demo_vet_and_tests_pass_with_the_kit_laid_in(go: Go, demo_tree: Path) -> None:
    go(demo_tree, "vet", "-mod=vendor", "./...", CGO_ENABLED="0")
    assert go(demo_tree, "test", "-mod=vendor", "./...", CGO_ENABLED="0").startswith("ok")


def test_go_code_is_formatted() -> None:
    gofmt = find_toolchain().root / "bin" / "gofmt"
    done = subprocess.run([gofmt, "-l", KIT, DEMO], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_kit_needs_the_standard_library_alone(go: Go) -> None:
    imports = set(go(KIT, "list", "-f", '{{range .Imports}}{{.}}{{"\\n"}}{{end}}', ".").split())
    assert not {path for path in imports if "." in path.split("/")[0]}
    assert not imports & {"C", "unsafe", "os/exec", "plugin"}


def test_demo_declares_all_that_it_can_do(demo_source: ReleaseSource) -> None:
    uses = scan_capabilities(
        demo_source.root, module_path=demo_source.module.path, package=demo_source.manifest.package
    )
    assert [use.capability for use in uses] == [Capability.NETWORK]
    assert undeclared(uses, demo_source.manifest) == ()
    assert demo_source.manifest.targets == TARGETS


def test_demo_requires_the_kit_by_its_version() -> None:
    assert f"require keywright.dev/gokit {KIT_VERSION}" in (DEMO / "go.mod").read_text()


def test_example_of_the_generated_file_is_what_the_farm_writes() -> None:
    example = (KIT / "testdata" / "customer_auth.go.txt").read_text()
    values = dict(re.findall(r'^\t(?:[Ee]mbedded)?(\w+) += "(.*)"$', example, re.MULTILINE))
    written = generate_customer_auth(
        EmbeddedConstants(
            customer_id=values["CustomerID"],
            customer_name=values["CustomerName"],
            api_key_hash=values["APIKeyHash"],
            secret_key=values["SecretKey"],
            target_tier=values["TargetTier"],
            authorized_features=tuple(values["AuthorizedFeatures"].split(",")),
            build_timestamp=values["BuildTimestamp"],
            build_host=values["BuildHost"],
            build_version=values["BuildVersion"],
            build_id=values["BuildID"],
            plugin_name=values["PluginName"],
            plugin_version=values["PluginVersion"],
            target=values["Target"],
            authority_public_key=values["AuthorityPublicKey"],
            issuer=values["Issuer"],
            server_url=values["ServerURL"],
        )
    )
    assert written == example
    assert example in DOCS.read_text()


def test_documentation_tells_the_effect_of_each_code() -> None:
    effects = dict(re.findall(r'^\s+"?(?:Code)?(\w+)"?:\s+(effect\w+),', (KIT / "code.go").read_text(), re.MULTILINE))
    names = {"ProofInvalid": "PROOF_INVALID", "ProofReplayed": "PROOF_REPLAYED"}
    told = {"effectDegrade": "degraded", "effectRevoke": "revoked", "effectReauthenticate": "authenticate anew"}
    columns = "|".join(told.values())
    documented = dict(re.findall(rf"^\| `([A-Z_]+)` \| ({columns}) \|", DOCS.read_text(), re.MULTILINE))
    assert {names.get(code, code): told[effect] for code, effect in effects.items()} == documented
    assert len(documented) > 25


def test_documentation_tells_each_reason() -> None:
    reasons = set(re.findall(r'Reason = "([A-Z_]+)"', (KIT / "refusal.go").read_text()))
    assert reasons
    assert {reason for reason in reasons if f"`{reason}`" not in DOCS.read_text()} == set()
