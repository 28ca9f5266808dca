"""What source can do, read from its imports, and what of it the manifest leaves out."""

from pathlib import Path, PurePosixPath
from time import process_time

import pytest

from build_farm.sources import Capability, SourceRefused, parse_manifest, scan_capabilities, undeclared

MANIFEST = 'name = "x"\nversion = "1.0.0"\ntargets = ["linux/amd64"]\n'


def scan(root: Path, files: dict[str, str]) -> dict[str, tuple[str, ...]]:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    uses = scan_capabilities(root, module_path="example.com/x", package=PurePosixPath("."))
    return {use.capability.value: use.examples for use in uses}


CASES = [
    ('import "fmt"', set()),
    ('import "os"\nvar _ = os.Getenv\nvar _ = os.Stdin', set()),
    ('import "net/url"', set()),
    ('import "path/filepath"\nvar _ = filepath.Join', set()),
    ('import "net/http"', {"network"}),
    ("import `net`", {"network"}),
    ('import ("fmt"; "crypto/tls")', {"network"}),
    ('import (\n\t// comment\n\tx "net" // more\n\t"fmt"\n)', {"network"}),
    ('import "fmt"; import "net"', {"network"}),
    ('/* before */ import /* in */ "net"', {"network"}),
    ('import _ "net/http/pprof"', {"network"}),
    ('import "os"\nvar _ = os.ReadFile', {"filesystem"}),
    ('import o "os"\nvar _ = o . /* hidden */ Open', {"filesystem"}),
    ('import "os"\nvar _ = os.\n\tOpen', {"filesystem"}),
    ('import . "os"', {"filesystem", "exec"}),
    ('import "path/filepath"\nvar _ = filepath.Glob', {"filesystem"}),
    ('import "text/template"\nfunc f(t *template.Template) { t.ParseFiles("/etc/passwd") }', {"filesystem"}),
    ('import "text/template"\nvar _ = template.New', set()),
    ('import "os"\nvar _ = os.StartProcess', {"exec"}),
    ('import "os/exec"', {"exec"}),
    ('import "unsafe"', {"unsafe"}),
    ('import "syscall"', {"network", "filesystem", "exec", "unsafe"}),
    ('import "C"', {"cgo"}),
    ('//go:cgo_ldflag "-lfoo"\nvar x int', {"cgo"}),
    ("//go:linkname local runtime.remote\nvar x int", {"unsafe"}),
    ('var s = `import "net/http"`', set()),
    ('// import "net/http"', set()),
    ('var s = "\\"; import \\"net\\""', set()),
    ('var r = \'"\'\nvar s = `\nimport "net"`', set()),
    ("var r = '\\''\nvar s = \"//go:linkname a b\"", set()),
]


@pytest.mark.parametrize(("body", "expected"), CASES, ids=range(len(CASES)))
def test_a_files_capabilities(tmp_path: Path, body: str, expected: set[str]) -> None:
    assert set(scan(tmp_path, {"main.go": f"package main\n\n{body}\n"})) == expected


def test_an_import_spelt_with_escapes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="escapes"):
        scan(tmp_path, {"main.go": 'package main\nimport "net\\x2fhttp"\n'})


def test_everything_reachable_counts_and_nothing_else(tmp_path: Path) -> None:
    found = scan(
        tmp_path,
        {
            "main.go": 'package main\nimport ("example.com/x/inner"; "example.org/dep"; "keywright.dev/gokit")\n',
            "main_windows.go": 'package main\nimport "os/exec"\n',
            "main_test.go": 'package main\nimport "unsafe"\n',
            "_old.go": 'package main\nimport "C"\n',
            "inner/inner.go": 'package inner\nimport "example.com/x/inner/deep"\n',
            "inner/deep/deep.go": 'package deep\nimport "net"\n',
            "other/other.go": 'package other\nimport "C"\n',
            "vendor/example.org/dep/dep.go": 'package dep\nimport "os"\nvar _ = os.Remove\n',
            "vendor/example.org/unused/unused.go": 'package unused\nimport "unsafe"\n',
            "vendor/keywright.dev/gokit/kit.go": 'package keywright\nimport "unsafe"\n',
        },
    )
    assert found == {
        "network": ("inner/deep/deep.go: imports net",),
        "filesystem": ("vendor/example.org/dep/dep.go: uses os.Remove",),
        "exec": ("main_windows.go: imports os/exec",),
    }


@pytest.mark.parametrize(
    ("name", "capability"), [("asm_amd64.s", "unsafe"), ("blob.syso", "cgo"), ("code.c", "cgo"), ("code.cpp", "cgo")]
)
def test_files_that_are_not_go(tmp_path: Path, name: str, capability: str) -> None:
    assert set(scan(tmp_path, {"main.go": "package main\n", name: ""})) == {capability}


DECLARATIONS = [
    ("", {"network", "exec"}),
    ('[[permissions]]\nresource = "network"\naction = "fetch"\n', {"exec"}),
    ('[[permissions]]\nresource = "*"\naction = "*"\n', set()),
    ('[[permissions]]\nresource = "network"\naction = "none"\n', {"network", "exec"}),
    ('[[permissions]]\nresource = "network"\naction = "fetch"\neffect = "deny"\n', {"network", "exec"}),
    (
        '[[permissions]]\nresource = "*"\naction = "*"\n'
        '[[permissions]]\nresource = "exec"\naction = "*"\neffect = "deny"\n',
        {"exec"},
    ),
    ("[permissions.network]\nfetch = true\n[permissions.exec]\nrun = false\n", {"exec"}),
    ('[permissions.network]\nfetch = ["api.example.com"]\n[permissions.exec]\nrun = []\n', {"exec"}),
]


@pytest.mark.parametrize(("declared", "missing"), DECLARATIONS, ids=range(len(DECLARATIONS)))
def test_what_is_not_declared_is_reported(tmp_path: Path, declared: str, missing: set[str]) -> None:
    (tmp_path / "main.go").write_text('package main\nimport ("net"; "os/exec")\n')
    uses = scan_capabilities(tmp_path, module_path="example.com/x", package=PurePosixPath("."))
    assert {use.capability for use in uses} == {Capability.NETWORK, Capability.EXEC}
    left = undeclared(uses, parse_manifest((MANIFEST + declared).encode()))
    assert {use.capability.value for use in left} == missing


@pytest.mark.parametrize(
    "hostile",
    [
        "/*" * 400_000,
        '"\\' * 400_000,
        "'\\" * 400_000,
        "`" + "a" * 800_000,
        "a." * 400_000,
        '"' * 800_001,
        "(" * 800_000,
    ],
    ids=["comments", "strings", "runes", "raw", "selectors", "quotes", "brackets"],
)
def test_hostile_text_costs_time_in_proportion(tmp_path: Path, hostile: str) -> None:
    before = process_time()
    scan(tmp_path, {"main.go": f'package main\nimport "net"\nvar x = {hostile}'})
    assert process_time() - before < 5


def test_too_much_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="too large"):
        scan(tmp_path, {"main.go": "package main\n//" + "x" * (9 << 20)})
