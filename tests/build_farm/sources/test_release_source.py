"""A source as a whole."""

from pathlib import Path

import pytest

from build_farm.sources import SourceRefused, open_release_source

MANIFEST = 'name = "x"\nversion = "1.0.0"\npackage = "cmd/x"\ntargets = ["linux/amd64"]\n'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "unpacked"
    (root / "cmd" / "x").mkdir(parents=True)
    (root / "keywright.toml").write_text(MANIFEST)
    (root / "go.mod").write_text("module example.com/x\ngo 1.25\n")
    (root / "cmd" / "x" / "main.go").write_text("package main\nfunc main() {}\n")
    return root


def test_a_good_source(source: Path) -> None:
    opened = open_release_source(source)
    assert opened.root == source
    assert (opened.manifest.name, opened.module.path) == ("x", "example.com/x")


def test_one_folder_around_everything_is_stepped_into(source: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    source.rename(outer / "x-1.0.0")
    assert open_release_source(outer).root == outer / "x-1.0.0"


@pytest.mark.parametrize("name", ["customer_auth.go", "Customer_Auth.go", "CUSTOMER_AUTH.GO"])
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_an_own_customer_auth_is_refused_in_any_case_and_kind(source: Path, name: str, kind: str) -> None:
    path = source / "cmd" / "x" / name
    if kind == "file":
        path.write_text("package main\n")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("main.go")
    with pytest.raises(SourceRefused, match="written by the build farm"):
        open_release_source(source)


def test_a_customer_auth_in_another_package_is_the_vendors_own(source: Path) -> None:
    (source / "internal").mkdir()
    (source / "internal" / "customer_auth.go").write_text("package internal\n")
    assert open_release_source(source)


@pytest.mark.parametrize("missing", ["keywright.toml", "go.mod", "cmd/x/main.go"])
def test_what_must_be_there(source: Path, missing: str) -> None:
    (source / missing).unlink()
    with pytest.raises(SourceRefused):
        open_release_source(source)


@pytest.mark.parametrize("linked", ["vendor", "cmd", "cmd/x", "go.mod", "keywright.toml", "vendor/modules.txt"])
def test_no_part_that_the_farm_writes_or_reads_may_be_a_link(source: Path, linked: str) -> None:
    (source / "vendor").mkdir()
    (source / "vendor" / "modules.txt").write_text("")
    assert open_release_source(source)
    path = source / linked
    path.rename(source / "moved")
    path.symlink_to(source / "moved")
    with pytest.raises(SourceRefused):
        open_release_source(source)
