"""The warm cache: it saves the work, and no customer's build can write what another one reads."""

import hashlib
import os
import statistics
import subprocess
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from build_farm.compile import SourceTree, WarmCache, WarmUp, generate_customer_auth
from build_farm.compile.warm_cache import base_key, release_key

PAIRS = 10


def layer_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        digest.update(f"{path} {status.st_mode} {status.st_uid} {status.st_mtime_ns} {status.st_size}".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.fixture
def own_cache(farm: Any) -> WarmCache:
    """A cache of this test's own, with the machine's base layer in it."""
    folder = farm.fresh("cache")
    folder.mkdir(mode=0o755)
    for layer in farm.cache.folder.glob("base-*"):
        (folder / layer.name).symlink_to(layer)
    return WarmCache(folder)


def test_a_customers_build_leaves_nothing_in_any_layer(farm: Any, good_tree: SourceTree) -> None:
    before = {path.name: layer_digest(path) for path in farm.cache.folder.iterdir() if path.is_dir()}
    farm.compile(good_tree, customer_id="cust_evil")
    assert {path.name: layer_digest(path) for path in farm.cache.folder.iterdir() if path.is_dir()} == before


def test_no_layer_can_be_written_by_a_slot(farm: Any) -> None:
    for path in farm.cache.folder.rglob("*"):
        status = path.lstat()
        assert status.st_uid == os.geteuid()
        if not path.is_symlink() and path.name != "lock":
            assert status.st_mode & 0o022 == 0


def test_a_release_is_warmed_once_and_its_layer_changes_no_byte(
    farm: Any, own_cache: WarmCache, good_tree: SourceTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = farm.compile(good_tree)
    target = "linux/amd64" if os.uname().machine == "x86_64" else "linux/arm64"
    with farm.pool.take() as slot:
        warm_up = WarmUp(cache=own_cache, kit=farm.kit, toolchain=farm.toolchain, slot=slot)
        assert warm_up.warm_release(good_tree, target) is not None
        assert warm_up.warm_release(good_tree, target) is None
        assert list(slot.folder.glob("written")) == []
    base = base_key(toolchain=farm.toolchain, target=target, kit_digest=farm.kit.digest)
    layer = own_cache.folder / release_key(base, good_tree)
    assert any(layer.rglob("*-d"))
    assert b"cust_" not in b"".join(path.read_bytes() for path in layer.rglob("*") if path.is_file())
    monkeypatch.setattr(farm, "cache", own_cache)
    assert farm.compile(good_tree).sha256 == cold.sha256


def test_only_ordinary_files_are_adopted_and_they_become_the_servers(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "00").mkdir(parents=True)
    (upper / "00" / "entry-d").write_text("good")
    (upper / "00" / "entry-d").chmod(0o4777)
    (upper / "00" / "link").symlink_to("/etc/shadow")
    os.mkfifo(upper / "00" / "pipe")
    (upper / "linked").symlink_to("/etc")
    cache = WarmCache(tmp_path / "cache")
    cache.adopt(upper, "layer")
    layer = tmp_path / "cache" / "layer"
    assert sorted(path.relative_to(layer).as_posix() for path in layer.rglob("*")) == ["00", "00/entry-d"]
    assert (layer / "00" / "entry-d").stat().st_mode & 0o7777 == 0o644
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["layer"]


def test_a_private_umask_makes_no_private_layer(tmp_path: Path) -> None:
    (tmp_path / "upper" / "00").mkdir(parents=True)
    before = os.umask(0o077)
    try:
        WarmCache(tmp_path / "cache").adopt(tmp_path / "upper", "layer")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "cache").rglob("*")} == {0o755}


def test_the_first_warm_up_to_finish_wins(tmp_path: Path) -> None:
    cache = WarmCache(tmp_path / "cache")
    for content in ("first", "second"):
        upper = tmp_path / content
        upper.mkdir()
        (upper / "entry").write_text(content)
        cache.adopt(upper, "layer")
    assert (tmp_path / "cache" / "layer" / "entry").read_text() == "first"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["layer"]


@pytest.mark.skipif("KEYWRIGHT_BENCH" not in os.environ, reason="a measurement: KEYWRIGHT_BENCH=1 runs it")
def test_another_customers_build_takes_less_than_one_and_a_half_bare_relinks(
    farm: Any,
    own_cache: WarmCache,
    main_source: str,
    make_constants: Any,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Any,
) -> None:
    """In turns on the same machine: `go build` after a changed main package, and our whole compile stage."""
    tree = farm.lay_out({"cmd/x/main.go": main_source})
    target = make_constants().target
    with farm.pool.take() as slot:
        WarmUp(cache=own_cache, kit=farm.kit, toolchain=farm.toolchain, slot=slot).warm_release(tree, target)
    monkeypatch.setattr(farm, "cache", own_cache)
    bare_tree = farm.fresh("bare")
    subprocess.run(["cp", "-r", str(tree.root), str(bare_tree)], check=True)
    bare: list[float] = []
    ours: list[float] = []
    for number in range(-1, PAIRS):
        customer = f"cust_{number + 1}"
        (bare_tree / tree.package / "customer_auth.go").write_text(
            generate_customer_auth(make_constants(customer_id=customer))
        )
        begun = monotonic()
        bare_build(farm, bare_tree, tree)
        between = monotonic()
        farm.compile(tree, customer_id=customer)
        if number >= 0:  # the first one fills the bare build's own cache
            bare.append(between - begun)
            ours.append(monotonic() - between)
    ratio = statistics.median(ours) / statistics.median(bare)
    said = f"bare {statistics.median(bare):.3f} s, sandboxed {statistics.median(ours):.3f} s, ratio {ratio:.2f}"
    print(f"\ncompile stage, medians of {PAIRS}: {said}")  # noqa: T201
    record_property("compile_stage", said)
    assert ratio < 1.5, said


def bare_build(farm: Any, folder: Path, tree: SourceTree) -> None:
    from build_farm.compile.go_command import go_environment

    environment = dict(go_environment("linux/amd64" if os.uname().machine == "x86_64" else "linux/arm64"))
    environment |= {
        "GOROOT": str(farm.toolchain.root),
        "GOCACHE": str(farm.place / "bare-cache"),
        "GOTMPDIR": "/tmp",
        "PATH": f"{farm.toolchain.root}/bin",
    }
    subprocess.run(
        [str(farm.toolchain.root / "bin/go"), "build", "-o", str(farm.place / "bare-binary"), f"./{tree.package}"],
        cwd=folder,
        env=environment,
        check=True,
    )
