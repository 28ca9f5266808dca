"""Reads `go.mod`: the module's path and what it may not ask for.

Source: the Go Modules Reference, "go.mod files" (lexical elements, grammar).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from build_farm.sources.errors import GoModuleRefused

KIT_MODULE = "keywright.dev/gokit"
LARGEST_BYTES = 1024 * 1024

_TOKEN = re.compile(r'\s*(?:(?P<comment>//.*)|(?P<text>"(?:[^"\\]|\\.)*"|`[^`]*`|=>|[(),\[\]]|[^\s()\[\],"`]+))')
_MODULE_PATH = re.compile(r"[A-Za-z0-9._~!+-]+(?:/[A-Za-z0-9._~!+-]+)*")
_SIMPLE = {"go", "module", "toolchain"}
_BLOCKS = {"require", "replace", "exclude", "retract", "godebug", "tool", "ignore"}


@dataclass(frozen=True)
class Directive:
    """One line of a go.mod: a verb and its words, whether it stood in a block or alone."""

    line: int
    verb: str
    words: tuple[str, ...]
    comment: str


@dataclass(frozen=True)
class GoModule:
    """What a go.mod says, in order."""

    path: str
    go_version: str
    directives: tuple[Directive, ...]


def parse_go_module(raw: bytes) -> GoModule:
    """Parse a main module's go.mod and refuse what the farm does not do.

    Raises:
        GoModuleRefused: it cannot be read, has no module or go line, or replaces a module by a folder outside.
    """
    if len(raw) > LARGEST_BYTES:
        raise GoModuleRefused(0, f"the file is larger than {LARGEST_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise GoModuleRefused(0, "the file is not UTF-8") from exc
    directives = tuple(_directives(text))
    for directive in directives:
        if directive.verb == "replace":
            _check_replacement(directive)
    path, go_version = _only(directives, "module"), _only(directives, "go")
    if not _MODULE_PATH.fullmatch(path):
        raise GoModuleRefused(0, "the module's path is malformed")
    if not re.fullmatch(r"\d+\.\d+(\.\d+|rc\d+|beta\d+)?", go_version):
        raise GoModuleRefused(0, "the go line is malformed")
    if path == KIT_MODULE or path.startswith(f"{KIT_MODULE}/"):
        raise GoModuleRefused(0, f"the module calls itself {KIT_MODULE}")
    return GoModule(path=path, go_version=go_version, directives=directives)


def parse_kit_go_version(raw: bytes) -> str:
    """The go line of the kit's own go.mod."""
    return _only(tuple(_directives(raw.decode())), "go")


def _only(directives: tuple[Directive, ...], verb: str) -> str:
    found = [directive for directive in directives if directive.verb == verb]
    if len(found) != 1 or len(found[0].words) != 1:
        raise GoModuleRefused(found[1].line if len(found) > 1 else 0, f"there must be one {verb} line")
    return found[0].words[0]


def _directives(text: str) -> Iterator[Directive]:
    block: str | None = None
    for number, line in enumerate(text.split("\n"), start=1):
        words, comment = _words(number, line.rstrip("\r"))
        if not words:
            continue
        if block is not None:
            if words == [")"]:
                block = None
                continue
            yield Directive(number, block, tuple(words), comment)
        elif words[1:] == ["("] and words[0] in _BLOCKS:
            block = words[0]
        elif words[0] in _BLOCKS | _SIMPLE:
            yield Directive(number, words[0], tuple(words[1:]), comment)
        else:
            raise GoModuleRefused(number, f"there is no directive {words[0]!r}")
    if block is not None:
        raise GoModuleRefused(0, f"the {block} block is not closed")


def _words(number: int, line: str) -> tuple[list[str], str]:
    words: list[str] = []
    position = 0
    while line[position:].strip():
        match = _TOKEN.match(line, position)
        if match is None:
            raise GoModuleRefused(number, "the line cannot be read")
        if match["comment"]:
            return words, match["comment"]
        words.append(_unquoted(number, match["text"]))
        position = match.end()
    return words, ""


def _unquoted(number: int, word: str) -> str:
    if word[0] not in '"`':
        if "/*" in word or "//" in word:
            raise GoModuleRefused(number, "comments must stand apart from words")
        return word
    if "\\" in word:
        raise GoModuleRefused(number, "a quoted word has an escape")
    return word[1:-1]


def _check_replacement(directive: Directive) -> None:
    words = directive.words
    if words.count("=>") != 1:
        raise GoModuleRefused(directive.line, "a replace line has one =>")
    target = words[words.index("=>") + 1 :]
    if not target or len(target) > 2:
        raise GoModuleRefused(directive.line, "a replace line has one target")
    replaced, path = words[0], target[0]
    if replaced == KIT_MODULE:
        return  # The farm lays its own kit in and drops this line.
    is_folder = len(target) == 1 or path.startswith((".", "/"))
    if is_folder and (path.startswith("/") or "\\" in path or re.match(r"[A-Za-z]:", path)):
        raise GoModuleRefused(directive.line, f"{replaced} is replaced by {path}, an absolute path")
    if is_folder and ".." in path.split("/"):
        raise GoModuleRefused(directive.line, f"{replaced} is replaced by {path}, a folder outside of the archive")
