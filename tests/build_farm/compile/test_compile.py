"""A real compiler makes a customer's binary: it runs, it is the same each time, it gives nothing away."""

import dataclasses
import io
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from build_farm.compile import (
    EmbeddedConstants,
    GoKit,
    GoToolchain,
    SandboxSettings,
    SourceTree,
    generate_customer_auth,
    lay_out_source,
    probe_compiler,
    read_gokit,
)
from build_farm.sandbox import SlotPool
from build_farm.sources import open_release_source, unpack_archive


def run(binary: Path) -> list[str]:
    binary.chmod(0o700)
    return json.loads(subprocess.run([str(binary)], capture_output=True, check=True, timeout=30).stdout)


def test_the_binary_runs_and_has_the_customers_constants(farm: Any, good_tree: SourceTree) -> None:
    compiled = farm.compile(good_tree)
    assert run(compiled.path) == ["cust_123", "Acme Corp", "encrypted:c2VjcmV0LW9mLXRoZS1idWlsZA=="]
    assert compiled.size_bytes == compiled.path.stat().st_size
    assert compiled.log == ""
    assert compiled.result.dropped_uid == (os.geteuid() == 0)


HOSTILE_NAMES = [
    '"; panic("owned"); var _ = "',
    "new\nline\r\n\ttab",
    "`backtick`",
    '*/ import "os/exec" /*',
    "\\",
    '\\" \\x41 \\u0041 %s %d',
    "\x00\x01\x7f",
    "Grüße 世界 \U0001f600 \u202e\ufeff\u2028",
    "",
    "//go:linkname x y",
]


def test_no_name_breaks_out_of_its_literal_and_each_arrives_as_it_was(farm: Any, good_tree: SourceTree) -> None:
    # All at once in one build, so that the test takes one compile.
    joined = "\x1e".join(HOSTILE_NAMES)
    assert run(farm.compile(good_tree, customer_name=joined).path)[1].split("\x1e") == HOSTILE_NAMES


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_generated_source_is_ascii_in_gofmts_form_with_one_line_a_value(
    make_constants: Any, toolchain: GoToolchain, name: str
) -> None:
    fields = [each.name for each in dataclasses.fields(EmbeddedConstants) if each.name != "authorized_features"]
    source = generate_customer_auth(make_constants(**dict.fromkeys(fields, name)))
    assert source.isascii()
    assert len(source.splitlines()) == len(generate_customer_auth(make_constants()).splitlines())
    formatted = subprocess.run(
        [str(toolchain.root / "bin" / "gofmt")], input=source, capture_output=True, text=True, check=True
    )
    assert formatted.stdout == source


def test_text_that_is_no_text_is_refused(make_constants: Any) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        generate_customer_auth(make_constants(customer_name="\ud800"))
    with pytest.raises(ValueError, match="too long"):
        generate_customer_auth(make_constants(customer_name="x" * 100_000))


def test_the_seeds_constants_are_all_there(make_constants: Any) -> None:
    source = generate_customer_auth(make_constants())
    for name in (
        *("EmbeddedCustomerID", "EmbeddedCustomerName", "EmbeddedAPIKeyHash", "EmbeddedSecretKey", "TargetTier"),
        *("AuthorizedFeatures", "BuildTimestamp", "BuildHost", "BuildVersion"),
    ):
        assert f"\t{name} " in source
    assert '"console_logging,api_logging"' in source


def test_generated_source_is_the_kits_documented_example(make_constants: Any) -> None:
    example = (Path(__file__).parents[3] / "build_farm/gokit/testdata/customer_auth.go.txt").read_text()
    stated = dict(re.findall(r'^\t(\w+) += "(.*)"$', example, re.MULTILINE))
    values = {
        each.name: next(value for name, value in stated.items() if matches(name, each.name))
        for each in dataclasses.fields(EmbeddedConstants)
    }
    features = tuple(str(values.pop("authorized_features")).split(","))
    assert generate_customer_auth(make_constants(**values, authorized_features=features)) == example


def matches(go_name: str, python_name: str) -> bool:
    return go_name.lower().removeprefix("embedded") == python_name.replace("_", "")


def test_the_same_inputs_give_the_same_bytes_in_another_slot_and_another_folder(
    farm: Any, good_tree: SourceTree, main_source: str, base_uid: int
) -> None:
    again = farm.lay_out({"cmd/x/main.go": main_source})
    assert again.root != good_tree.root
    assert again.digest == good_tree.digest
    other_pool = SlotPool(farm.place / "elsewhere" / "slots", count=1, base_uid=base_uid + 2)
    (farm.place / "elsewhere").mkdir(mode=0o711)
    first, second = farm.compile(good_tree), farm.compile(again, pool=other_pool)
    assert first.result.uid != second.result.uid or not first.result.dropped_uid
    assert first.sha256 == second.sha256
    assert first.path.read_bytes() == second.path.read_bytes()
    assert farm.compile(good_tree, customer_id="cust_124").sha256 != first.sha256


def test_the_binary_names_no_path_user_or_environment_of_the_builder(
    farm: Any, good_tree: SourceTree, monkeypatch: pytest.MonkeyPatch, toolchain: GoToolchain
) -> None:
    monkeypatch.setenv("KEYWRIGHT_PROBE", "environment-of-the-builder")
    monkeypatch.setenv("GOFLAGS", "-ldflags=-X=main.x=flag-of-the-builder")
    compiled = farm.compile(good_tree)
    content = compiled.path.read_bytes()
    for trace in (
        *(str(farm.place), str(good_tree.root), str(toolchain.root), "/slot-", "keywright-test-cache"),
        *("environment-of-the-builder", "flag-of-the-builder", "/src/cmd/x", "/cache/", os.uname().nodename),
    ):
        if len(trace) > 3:
            assert trace.encode() not in content, trace
    facts = subprocess.run(
        [str(toolchain.root / "bin" / "go"), "version", "-m", str(compiled.path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "\tdep\tkeywright.dev/gokit\tv1.0.0" in facts
    assert "-trimpath=true" in facts
    assert "CGO_ENABLED=0" in facts
    assert "ldflags" not in facts
    assert "vcs" not in facts


def test_a_brought_kit_is_replaced_by_the_farms(farm: Any, main_source: str, kit: GoKit) -> None:
    tree = farm.lay_out(
        {
            "cmd/x/main.go": main_source,
            "go.mod": "module example.com/x\n\ngo 1.25\n\nrequire (\n\tkeywright.dev/gokit v0.9.0\n)\n"
            "replace keywright.dev/gokit => ../../kit\n",
            "vendor/modules.txt": "# keywright.dev/gokit v0.9.0 => ../../kit\n"
            "## explicit; go 1.20\nkeywright.dev/gokit\n",
            "vendor/keywright.dev/gokit/evil.go": "package keywright\n\nfunc init() { panic(1) }\n",
        }
    )
    assert not (tree.root / "vendor/keywright.dev/gokit/evil.go").exists()
    assert run(farm.compile(tree).path)[0] == "cust_123"


def test_vendored_dependencies_and_replacements_inside_work(farm: Any) -> None:
    tree = farm.lay_out(
        {
            "cmd/x/main.go": 'package main\n\nimport "example.org/dep"\n\nfunc main() { dep.Say() }\n',
            "go.mod": "module example.com/x\n\ngo 1.25\n\nrequire example.org/dep v1.2.3\n\n"
            "replace example.org/dep => ./third_party/dep\n",
            "third_party/dep/go.mod": "module example.org/dep\n\ngo 1.25\n",
            "third_party/dep/dep.go": 'package dep\n\nfunc Say() { println("not this") }\n',
            "vendor/modules.txt": "# example.org/dep v1.2.3 => ./third_party/dep\n"
            "## explicit; go 1.25\nexample.org/dep\n"
            "# example.org/dep => ./third_party/dep\n",
            "vendor/example.org/dep/dep.go": 'package dep\n\nimport "os"\n\n'
            'func Say() { os.Stdout.WriteString(`["vendored"]`) }\n',
        }
    )
    assert run(farm.compile(tree).path) == ["vendored"]


def test_laying_out_twice_changes_nothing(good_tree: SourceTree, kit: GoKit) -> None:
    auth = good_tree.root / good_tree.package / "customer_auth.go"
    assert auth.read_bytes() == b""
    auth.unlink()  # a source is opened before the farm has put its file there
    assert lay_out_source(open_release_source(good_tree.root), kit).digest == good_tree.digest


def test_the_kits_digest_is_over_names_and_contents_but_not_tests(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module keywright.dev/gokit\n\ngo 1.25\n")
    (tmp_path / "a.go").write_text("package keywright\n")
    first = read_gokit(tmp_path)
    (tmp_path / "a_test.go").write_text("package keywright\n")
    assert read_gokit(tmp_path).digest == first.digest
    (tmp_path / "a.go").rename(tmp_path / "b.go")
    assert read_gokit(tmp_path).digest != first.digest
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.go").write_text("package sub\n")
    assert read_gokit(tmp_path).packages == ("keywright.dev/gokit", "keywright.dev/gokit/sub")


def test_the_probe_runs_the_compiler_in_the_sandbox(farm: Any, toolchain: GoToolchain) -> None:
    with farm.pool.take() as slot:
        result = probe_compiler(slot=slot, toolchain=toolchain, settings=SandboxSettings())
    assert result.succeeded
    assert toolchain.version in result.log


def test_a_server_with_a_private_umask_makes_what_the_slot_can_read(
    farm: Any, main_source: str, good_tree: SourceTree
) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for path in ("keywright.toml", "go.mod"):
            archive.add(good_tree.root / path, f"x-1.0.0/{path}")
        info = tarfile.TarInfo("x-1.0.0/cmd/x/main.go")
        info.size = len(main_source)
        archive.addfile(info, io.BytesIO(main_source.encode()))
    stored = farm.fresh("archive")
    stored.write_bytes(content.getvalue())
    before = os.umask(0o077)
    try:
        unpack_archive(stored, farm.fresh("unpacked"))
        unpacked = next(farm.place.glob("unpacked-*"))
        tree = lay_out_source(open_release_source(unpacked), farm.kit)
        assert run(farm.compile(tree).path)[0] == "cust_123"
    finally:
        os.umask(before)
    assert tree.digest == good_tree.digest
