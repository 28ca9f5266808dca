"""Strict reading of the environment: every setting is declared once, and a bad one stops the process.

Each reader takes the name, the default and one line of help; what was declared is kept, so that a test can hold
docs/configuration.md against it. Any setting may come from a file instead (`X_FILE`), which is how secrets should.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from licensing.core.errors import ConfigurationError

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


@dataclass(frozen=True)
class Declared:
    """One setting as the documentation shows it."""

    name: str
    kind: str
    default: str
    help: str
    is_secret: bool
    is_set: bool = False
    file: str | None = None
    """The file that `X_FILE` names, where the value came from one."""


class Environment:
    """Reads settings from a mapping such as `os.environ`; fails loudly, naming the variable and never its value."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.declared: dict[str, Declared] = {}

    def text(self, name: str, default: str = "", *, help: str, choices: tuple[str, ...] = ()) -> str:
        """Read a string; with `choices`, one of them."""
        value = self._read(name, "text", default, help)
        if choices and value not in choices:
            raise ConfigurationError(f"{name} must be one of {', '.join(choices)}.")
        return value

    def secret(self, name: str, *, help: str) -> str:
        """Read a secret; empty when it is not set (whoever needs it refuses to work without)."""
        return self._read(name, "secret", "", help, is_secret=True)

    def boolean(self, name: str, default: bool, *, help: str) -> bool:
        """Read 1/0, true/false, yes/no, on/off."""
        value = self._read(name, "boolean", "true" if default else "false", help).lower()
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        raise ConfigurationError(f"{name} must be true or false.")

    def integer(self, name: str, default: int, *, help: str, minimum: int = 0, maximum: int = 2**31) -> int:
        """Read a whole number within bounds, both included."""
        text = self._read(name, "integer", str(default), help)
        try:
            value = int(text)
        except ValueError:
            raise ConfigurationError(f"{name} must be a whole number.") from None
        if not minimum <= value <= maximum:
            raise ConfigurationError(f"{name} must be between {minimum} and {maximum}.")
        return value

    def words(self, name: str, default: str = "", *, help: str) -> list[str]:
        """Read a list separated by commas or white space."""
        return self._read(name, "list", default, help).replace(",", " ").split()

    def networks(self, name: str, default: str = "", *, help: str) -> list[str]:
        """Read a list of addresses and CIDR ranges: a mistyped one would otherwise be an error in every request."""
        words = self.words(name, default, help=help)
        for place, word in enumerate(words, start=1):
            try:
                ipaddress.ip_network(word, strict=False)
            except ValueError:
                raise ConfigurationError(f"{name}, entry {place}: not an address or range (CIDR).") from None
        return words

    def http_url(self, name: str, default: str, *, help: str) -> str:
        """Read an absolute http(s) URL without query or fragment; a trailing slash is dropped."""
        value = self._read(name, "URL", default, help).rstrip("/")
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigurationError(f"{name} must be an absolute http or https URL without query or fragment.")
        return value

    def _read(self, name: str, kind: str, default: str, help_line: str, *, is_secret: bool = False) -> str:
        file_name = self._values.get(f"{name}_FILE")
        is_set = file_name is not None or bool(self._values.get(name))
        self.declared[name] = Declared(name, kind, default, help_line, is_secret, is_set, file_name)
        if file_name is None:
            value = self._values.get(name)
            return default if value is None or value == "" else value
        if self._values.get(name):
            raise ConfigurationError(f"{name} and {name}_FILE are both set; set one.")
        try:
            return Path(file_name).read_text(encoding="utf-8").strip() or default
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigurationError(f"{name}_FILE names a file that cannot be read.") from exc
