"""Source that is wrong or hostile: it fails with a log that a person understands, and the next build is fine."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from build_farm.compile import CompileFailed, CompileRequest, SandboxSettings, SourceTree, compile_plugin
from build_farm.sandbox import SandboxLimits, SandboxUnavailable, Stop
from build_farm.sources import SourceRefused

MIB = 1024 * 1024


def embedding(pattern: str) -> str:
    return f'package main\n\nimport _ "embed"\n\n//go:embed {pattern}\nvar s string\n\nfunc main() {{ println(s) }}\n'


@pytest.fixture
def next_build_is_fine(farm: Any, good_tree: SourceTree) -> Iterator[None]:
    yield
    assert farm.compile(good_tree).size_bytes > MIB


def failed(farm: Any, files: dict[str, str], **bounds: Any) -> CompileFailed:
    with pytest.raises(CompileFailed) as failure:
        farm.compile(farm.lay_out(files), limits=SandboxLimits(**{"wall_seconds": 60.0, **bounds}))
    assert failure.value.log.endswith("\n")
    assert "c2VjcmV0" not in failure.value.log
    assert str(farm.place) not in failure.value.log
    return failure.value


@pytest.mark.usefixtures("next_build_is_fine")
def test_source_that_does_not_compile_is_told_where(farm: Any) -> None:
    failure = failed(farm, {"cmd/x/main.go": "package main\n\nfunc main() { undefinedName() }\n"})
    assert "cmd/x/main.go:3:15: undefined: undefinedName" in failure.log
    assert failure.summary == "the compiler ended with exit code 1"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"cmd/x/main.go": "package main\n\nfunc main() {"}, "syntax error"),
        ({"cmd/x/main.go": "package other\n"}, "found packages"),
        (
            {"cmd/x/main.go": 'package main\n\nimport "example.org/away"\n\nfunc main() { away.X() }\n'},
            "cannot find module",
        ),
        ({"cmd/x/main.go": "package main\n\nfunc main() {}\n\nconst EmbeddedCustomerID = 1\n"}, "redeclared"),
        (
            {
                "cmd/x/main.go": "package main\n\nfunc main() {}\n",
                "go.mod": "module example.com/x\n\ngo 1.99\n",
            },
            "requires go >= 1.99",
        ),
        (
            {
                "cmd/x/main.go": "package main\n\nfunc main() {}\n",
                "go.mod": "module example.com/x\n\ngo 1.25\n\nrequire example.org/dep v1.0.0\n",
            },
            "inconsistent vendoring",
        ),
        (
            {"cmd/x/main.go": 'package main\n\n// int x;\nimport "C"\n\nfunc main() { _ = C.x }\n'},
            r"without cgo, so these files were left out:\ncmd/x/main\.go: imports C\n",
        ),
        (
            {"cmd/x/main.go": 'package main\n\n//go:cgo_ldflag "-lfoo"\nfunc main() {}\n'},
            "only allowed in cgo-generated code",
        ),
        (
            {"cmd/x/main.go": embedding("../../../../etc/passwd")},
            "invalid pattern syntax",
        ),
        (
            {"cmd/x/main.go": embedding("/etc/passwd")},
            "invalid pattern syntax",
        ),
    ],
    ids=[
        "syntax",
        "not main",
        "unvendored",
        "redeclares",
        "newer go",
        "inconsistent",
        "cgo",
        "cgo flag",
        "embed ..",
        "embed /",
    ],
)
def test_wrong_source_is_explained(farm: Any, files: dict[str, str], said: str) -> None:
    assert re.search(said, failed(farm, files).log)


@pytest.mark.usefixtures("next_build_is_fine")
def test_an_embed_of_a_link_is_refused(farm: Any) -> None:
    tree = farm.lay_out(
        {
            "cmd/x/main.go": embedding("linked"),
        }
    )
    (tree.root / "cmd/x/linked").symlink_to("/etc/shadow")  # no archive can bring this one
    with pytest.raises(CompileFailed) as failure:
        farm.compile(tree)
    assert "cannot embed irregular file linked" in failure.value.log


def test_go_generate_is_never_run(farm: Any) -> None:
    tree = farm.lay_out(
        {
            "cmd/x/main.go": "package main\n\n//go:generate go build -o /src/generated .\n"
            "//go:generate touch /out/plugin.generated\n\nfunc main() {}\n",
        }
    )
    before = sorted(path.name for path in tree.root.rglob("*"))
    assert farm.compile(tree).size_bytes > MIB
    assert sorted(path.name for path in tree.root.rglob("*")) == before


@pytest.mark.parametrize(
    "body",
    [
        'const s0 = "0123456789abcdef"\n'
        + "\n".join(f"const s{n + 1} = s{n} + s{n}" for n in range(40))
        + "\nvar x = s40\n",
        "var x = [1 << 33]byte{1<<33 - 1: 1}\n",
        "const x = 1 << (1 << 30)\n",
    ],
    ids=["doubled string", "array", "shift"],
)
@pytest.mark.usefixtures("next_build_is_fine")
def test_gigabytes_of_constants_are_stopped(farm: Any, body: str) -> None:
    failure = failed(
        farm,
        {"cmd/x/main.go": f"package main\n\nfunc main() {{ println(len(x)) }}\n\n{body}"},
        memory_bytes=600 * MIB,
        scratch_bytes=300 * MIB,
        wall_seconds=40.0,
    )
    assert failure.result.peak_memory_bytes < 1500 * MIB
    assert len(failure.log) < 300_000


@pytest.mark.usefixtures("next_build_is_fine")
def test_a_huge_log_is_cut(farm: Any) -> None:
    lines = "\n".join(f"\t{'x' * 1_000_000}{n}()" for n in range(8))
    failure = failed(farm, {"cmd/x/main.go": f"package main\n\nfunc main() {{\n{lines}\n}}\n"})
    assert "left out" in failure.log
    assert len(failure.log) < 30_000


@pytest.mark.usefixtures("next_build_is_fine")
def test_a_log_that_would_show_a_constant_does_not(farm: Any) -> None:
    # The compiler prints the value of a constant that does not fit its type.
    failure = failed(
        farm,
        {"cmd/x/main.go": "package main\n\nvar x int8 = EmbeddedSecretKey + EmbeddedAPIKeyHash\n\nfunc main() {}\n"},
    )
    assert "main.go:3" in failure.log
    assert "abababab" not in failure.log
    assert "[redacted]" in failure.log


@pytest.mark.usefixtures("next_build_is_fine")
def test_a_stuck_compiler_is_killed(farm: Any, good_tree: SourceTree) -> None:
    with pytest.raises(CompileFailed) as failure:
        farm.compile(good_tree, limits=SandboxLimits(wall_seconds=0.15))
    assert failure.value.result.stop is Stop.WALL_CLOCK
    assert "took longer than is allowed" in failure.value.log


@pytest.mark.usefixtures("next_build_is_fine")
def test_a_compile_that_was_called_off_is_stopped(farm: Any, good_tree: SourceTree) -> None:
    called_off = threading.Event()
    called_off.set()
    with pytest.raises(CompileFailed) as failure:
        farm.compile(good_tree, called_off=called_off)
    assert failure.value.result.stop is Stop.CALLED_OFF
    assert "called off" in failure.value.log


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"memory_bytes": 48 * MIB}, "memory"),
        ({"scratch_bytes": 2 * MIB}, "no space left on device"),
        ({"file_bytes": 1 * MIB}, "file too large|file size limit|File too large"),
        ({"processes": 12}, "resource temporarily unavailable|processes|failed to create new OS thread"),
        ({"open_files": 12}, "too many open files"),
    ],
    ids=["memory", "disk", "file", "processes", "descriptors"],
)
def test_each_bound_fails_the_compile_and_says_so(
    farm: Any, good_tree: SourceTree, bounds: dict[str, int], said: str
) -> None:
    with pytest.raises(CompileFailed) as failure:
        farm.compile(good_tree, limits=SandboxLimits(wall_seconds=60.0, **bounds))
    assert re.search(said, failure.value.log), failure.value.log[-600:]
    assert list(farm.place.glob("binary-*.new")) == []


def test_without_bubblewrap_nothing_is_compiled(farm: Any, good_tree: SourceTree, make_constants: Any) -> None:
    destination = farm.fresh("binary")
    with farm.pool.take() as slot, pytest.raises(SandboxUnavailable):
        compile_plugin(
            CompileRequest(
                tree=good_tree,
                toolchain=farm.toolchain,
                constants=make_constants(),
                slot=slot,
                cache=farm.cache,
                kit_digest=farm.kit.digest,
                destination=destination,
                settings=SandboxSettings(bubblewrap=Path("/nonexistent/bwrap")),
            )
        )
    assert not destination.exists()


def test_a_replace_to_etc_is_refused_before_anything_is_built(farm: Any) -> None:
    with pytest.raises(SourceRefused, match=r"go\.mod:5: example\.org/dep is replaced by /etc, an absolute path"):
        farm.lay_out(
            {
                "cmd/x/main.go": "package main\n\nfunc main() {}\n",
                "go.mod": "module example.com/x\n\ngo 1.25\n\nreplace example.org/dep => /etc\n",
            }
        )
