"""Reads Go source far enough to know what it imports, which names it selects, and its directives.

One pass, one token at a time: hostile source costs time in proportion to its length and next to no memory.
Source: The Go Programming Language Specification, "Lexical elements" and "Import declarations".
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from build_farm.sources.errors import SourceRefused, printable

# Every alternative that opens something also ends at the end of its line or of the text: an opening that is never
# closed would else be searched for its end again from each following character.
_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<raw>`[^`]*(?:`|\Z))
      | (?P<text>"(?:[^"\\\n]++|\\[^\n])*+"?)
      | (?P<rune>'(?:[^'\\\n]++|\\[^\n])*+'?)
      | (?P<name>[^\W\d]\w*)
      | (?P<number>\d[\w.]*)
      | (?P<blank>[ \t\r\n]+)
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_DIRECTIVE = re.compile(r"//(go:\w+)|//export |(?m:^[ \t]*(?://)?[ \t]*#cgo\b)")

_Token = tuple[str, str]
_END: _Token = ("end", "")


@dataclass(frozen=True)
class GoFile:
    """`imports` are pairs of local name (the path's last element unless renamed; `_` and `.` too) and import path.

    `selected` are the names that follow `local.` of a watched import; `methods` the watched names that follow any
    dot. `directives` are `go:…`, `export` and `#cgo` comments.
    """

    imports: tuple[tuple[str, str], ...]
    selected: Mapping[str, frozenset[str]]
    methods: frozenset[str]
    directives: frozenset[str]


def read_go_file(source: str, *, watched: frozenset[str], watched_methods: frozenset[str]) -> GoFile:
    """Read one file. Text that is no Go gives what could be read of it; the compiler refuses it later.

    Raises:
        SourceRefused: an import path is written with escapes, which no one does who has nothing to hide.
    """
    directives: set[str] = set()
    tokens = _tokens(source, directives)
    imports, after = _header(tokens)
    local_names = {local: path for local, path in imports if path in watched}
    selected: dict[str, set[str]] = {path: set() for path in local_names.values()}
    methods: set[str] = set()
    before, dot = _END, _END
    for token in chain((after,), tokens):
        if token[0] == "name" and dot[1] == ".":
            if before[0] == "name" and before[1] in local_names:
                selected[local_names[before[1]]].add(token[1])
            if token[1] in watched_methods:
                methods.add(token[1])
        before, dot = dot, token
    frozen = {path: frozenset(names) for path, names in selected.items()}
    return GoFile(tuple(imports), frozen, frozenset(methods), frozenset(directives))


def _tokens(source: str, directives: set[str]) -> Iterator[_Token]:
    for match in _TOKEN.finditer(source.removeprefix("\ufeff")):
        kind = match.lastgroup or ""
        if kind == "comment":
            if found := _DIRECTIVE.search(match[0]):
                directives.add(found[0].strip("/ \t"))
        elif kind != "blank":
            yield kind, match[0]


def _header(tokens: Iterator[_Token]) -> tuple[list[tuple[str, str]], _Token]:
    """The import declarations, which come before anything but the package clause, and the token after them."""
    imports: list[tuple[str, str]] = []
    if next(tokens, _END) != ("name", "package"):
        return imports, _END
    next(tokens, _END)
    while (token := next(tokens, _END)) == ("name", "import") or token[1] == ";":
        if token[1] == "import":
            _import_declaration(tokens, imports)
    return imports, token


def _import_declaration(tokens: Iterator[_Token], imports: list[tuple[str, str]]) -> None:
    grouped, name = False, ""
    for kind, text in tokens:
        if kind in ("text", "raw"):
            path = _path(text)
            imports.append((name or _default_name(path), path))
            name = ""
            if not grouped:
                return
        elif text == "(":
            grouped = True
        elif kind == "name" or text == ".":
            name = text
        elif text != ";":
            return


def _path(literal: str) -> str:
    # An interpreted string could spell net/http as "net\x2fhttp".
    if literal[0] == '"' and "\\" in literal:
        raise SourceRefused(f"the import {printable(literal)} is written with escapes")
    return literal[1:-1]


def _default_name(path: str) -> str:
    last = path.rpartition("/")[2]
    return path.split("/")[-2] if re.fullmatch(r"v\d+", last) and "/" in path else last
