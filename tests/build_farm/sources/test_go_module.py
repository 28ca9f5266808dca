"""go.mod: read as Go reads it; a replacement that leaves the archive is refused."""

import pytest

from build_farm.sources import GoModuleRefused, parse_go_module

GOOD = """// a comment
module example.com/plugin // trailing

go 1.25

toolchain go1.27.0

require (
\texample.com/one v1.2.3
\t"example.com/two" v0.0.0 // indirect
)
require keywright.dev/gokit v0.0.0
replace keywright.dev/gokit => ../../gokit
replace example.com/one v1.2.3 => ./third_party/one
replace (
\texample.com/two => example.com/fork v1.0.0
)
retract [v1.0.0, v1.1.0]
"""


def test_a_module_is_read() -> None:
    module = parse_go_module(GOOD.encode())
    assert (module.path, module.go_version) == ("example.com/plugin", "1.25")
    required = [d.words[0] for d in module.directives if d.verb == "require"]
    assert required == ["example.com/one", "example.com/two", "keywright.dev/gokit"]


LEAST = "module example.com/x\ngo 1.25\n"
WRONG = [
    ("replace example.com/a => /etc\n", "replaced by /etc, an absolute path"),
    ('replace example.com/a => "/etc"\n', "absolute"),
    ("replace example.com/a => `/etc`\n", "absolute"),
    ("replace example.com/a v1.0.0 => /etc\n", "absolute"),
    ("replace (\n example.com/a => /etc\n)\n", "absolute"),
    ("replace example.com/a => ../outside\n", "outside of the archive"),
    ("replace example.com/a => ./in/../../outside\n", "outside of the archive"),
    ("replace example.com/a => C:\\windows\n", "absolute"),
    ("replace example.com/a /etc\n", "one =>"),
    ("module example.com/y\n", "one module line"),
    ("go 1.26\n", "one go line"),
    ("include ./other\n", "no directive"),
    ("require (\n", "not closed"),
    ('require "a\\x2fb" v1\n', "escape"),
    ("require a/*b*/ v1\n", "comments must stand apart"),
]


@pytest.mark.parametrize(("more", "said"), WRONG)
def test_what_is_refused(more: str, said: str) -> None:
    assert parse_go_module(LEAST.encode()).path == "example.com/x"
    with pytest.raises(GoModuleRefused, match=said):
        parse_go_module((LEAST + more).encode())


@pytest.mark.parametrize(
    "raw", [b"", b"module a\n", b"go 1.25\n", b"module a\ngo one\n", b"module keywright.dev/gokit\ngo 1.25\n", b"\xff"]
)
def test_what_a_module_must_have(raw: bytes) -> None:
    with pytest.raises(GoModuleRefused):
        parse_go_module(raw)


def test_the_line_is_named() -> None:
    with pytest.raises(GoModuleRefused) as refusal:
        parse_go_module((LEAST + "replace a => /etc\n").encode())
    assert refusal.value.line == 3
