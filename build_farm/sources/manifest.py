"""`keywright.toml`: what a vendor says about a release's source, read strictly.

Only the shape of permissions is checked here; which resources and actions exist is for the permission rules. Sources:
seeds/plugin-security-model.md "Declaring Permissions", seeds/xcore-security-best-practices.md (resources).
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Literal, cast

import semver

from build_farm.sources.errors import ManifestRefused, MemberRefused
from build_farm.sources.limits import ArchiveLimits
from build_farm.sources.names import member_path

FILE_NAME = "keywright.toml"
LARGEST_BYTES = 64 * 1024
TARGETS = tuple(f"{system}/{arch}" for system in ("linux", "darwin", "windows") for arch in ("amd64", "arm64"))

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_FEATURE = re.compile(r"[a-z][a-z0-9_]{1,62}")
_WORD = re.compile(r"[A-Za-z*][A-Za-z0-9_.*:/-]{0,126}")
_FIELDS = {"name", "version", "package", "targets", "features", "tier", "permissions", "resources"}
_RESOURCES = {"timeout_seconds", "max_memory_mb", "max_disk_mb"}
_MOST_ENTRIES = 100

Scalar = bool | str | tuple[str, ...]


@dataclass(frozen=True)
class Permission:
    """One entry of the list form: what may, or may not, be done with a resource."""

    resource: str
    actions: tuple[str, ...]
    scope: str | None
    effect: Literal["allow", "deny"]


@dataclass(frozen=True)
class SourceManifest:
    """A checked `keywright.toml`.

    `package` is the folder of package main, relative to the archive's root, `.` for the root itself. Permissions came
    as a list (`permissions`) or as tables of flags (`permission_flags`: resource → action → flag or allowed values);
    the other one is empty. `resources` are positive integers, with `rate_limit` flattened to `rate_limit.calls` and
    `rate_limit.period_seconds`.
    """

    name: str
    version: str
    package: PurePosixPath
    targets: tuple[str, ...]
    features: tuple[str, ...]
    tier: str | None
    permissions: tuple[Permission, ...]
    permission_flags: Mapping[str, Mapping[str, Scalar]]
    resources: Mapping[str, int]


def parse_manifest(raw: bytes) -> SourceManifest:
    """Parse and check the bytes of `keywright.toml`.

    Raises:
        ManifestRefused: it is not TOML, or a field is missing, unknown or wrong; names the field.
    """
    data = _toml(raw)
    for unknown in data.keys() - _FIELDS:
        raise ManifestRefused(unknown, "there is no such field")
    permissions, flags = _permissions(data.get("permissions", []))
    return SourceManifest(
        name=_matching(data, "name", _NAME, longest=64, what="lower-case words joined by single hyphens"),
        version=_version(data),
        package=_package(data),
        targets=_targets(data),
        features=_unique_list(data, "features", lambda value: bool(_FEATURE.fullmatch(value)), default=[]),
        tier=_text(data["tier"], "tier", longest=64) if "tier" in data else None,
        permissions=permissions,
        permission_flags=flags,
        resources=_resources(data.get("resources", {})),
    )


def _toml(raw: bytes) -> dict[str, object]:
    if len(raw) > LARGEST_BYTES:
        raise ManifestRefused("", f"the file is larger than {LARGEST_BYTES} bytes")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise ManifestRefused("", "the file is not UTF-8") from exc
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ManifestRefused("", f"the file is not TOML: {exc}") from exc


def _text(value: object, field: str, *, longest: int) -> str:
    if not isinstance(value, str):
        raise ManifestRefused(field, "must be a string")
    if not value or len(value) > longest or not value.isprintable():
        raise ManifestRefused(field, f"must be 1 to {longest} printable characters")
    return value


def _required(data: Mapping[str, object], field: str) -> object:
    if field not in data:
        raise ManifestRefused(field, "is missing")
    return data[field]


def _matching(data: Mapping[str, object], field: str, pattern: re.Pattern[str], *, longest: int, what: str) -> str:
    value = _text(_required(data, field), field, longest=longest)
    if not pattern.fullmatch(value):
        raise ManifestRefused(field, f"must be {what}")
    return value


def _version(data: Mapping[str, object]) -> str:
    value = _text(_required(data, "version"), "version", longest=64)
    try:
        semver.Version.parse(value)
    except ValueError as exc:
        raise ManifestRefused("version", "must be a semantic version such as 1.4.0 or 2.0.0-beta.1") from exc
    return value


def _package(data: Mapping[str, object]) -> PurePosixPath:
    value = _text(data.get("package", "."), "package", longest=512)
    try:
        path = member_path(value, ArchiveLimits())
    except MemberRefused as exc:
        raise ManifestRefused("package", exc.reason) from exc
    if path is not None and path.parts[0] == "vendor":
        raise ManifestRefused("package", "must be a folder of the module itself, not of vendor")
    return path or PurePosixPath(".")


def _targets(data: Mapping[str, object]) -> tuple[str, ...]:
    _required(data, "targets")
    targets = _unique_list(data, "targets", TARGETS.__contains__, default=[])
    if not targets:
        raise ManifestRefused("targets", f"must name at least one of {', '.join(TARGETS)}")
    return targets


def _unique_list(
    data: Mapping[str, object], field: str, is_good: Callable[[str], bool], *, default: list[object]
) -> tuple[str, ...]:
    values = data.get(field, default)
    if not isinstance(values, list) or len(values) > _MOST_ENTRIES:
        raise ManifestRefused(field, f"must be a list of at most {_MOST_ENTRIES} strings")
    seen: list[str] = []
    for number, value in enumerate(values):
        place = f"{field}[{number}]"
        if not isinstance(value, str) or not is_good(value):
            raise ManifestRefused(place, "is not one of the values allowed here")
        if value in seen:
            raise ManifestRefused(place, "is there twice")
        seen.append(value)
    return tuple(seen)


def _permissions(value: object) -> tuple[tuple[Permission, ...], Mapping[str, Mapping[str, Scalar]]]:
    if isinstance(value, list) and len(value) <= _MOST_ENTRIES:
        return tuple(_permission(entry, f"permissions[{number}]") for number, entry in enumerate(value)), _NO_FLAGS
    if isinstance(value, dict) and len(value) <= _MOST_ENTRIES:
        return (), MappingProxyType({_word(name, "permissions"): _flags(name, table) for name, table in value.items()})
    raise ManifestRefused("permissions", f"must be a list of tables or a table, of at most {_MOST_ENTRIES} entries")


_NO_FLAGS: Mapping[str, Mapping[str, Scalar]] = MappingProxyType({})


def _permission(entry: object, place: str) -> Permission:
    if not isinstance(entry, dict):
        raise ManifestRefused(place, "must be a table")
    for unknown in entry.keys() - {"resource", "action", "actions", "scope", "effect"}:
        raise ManifestRefused(f"{place}.{unknown}", "there is no such field")
    if ("action" in entry) == ("actions" in entry):
        raise ManifestRefused(place, "must have either action or actions")
    actions = entry["actions"] if "actions" in entry else [entry["action"]]
    if not isinstance(actions, list) or not 0 < len(actions) <= _MOST_ENTRIES:
        raise ManifestRefused(f"{place}.actions", "must be a list of at least one string")
    effect = entry.get("effect", "allow")
    if effect not in ("allow", "deny"):
        raise ManifestRefused(f"{place}.effect", "must be allow or deny")
    return Permission(
        resource=_word(_required_in(entry, place, "resource"), f"{place}.resource"),
        actions=tuple(_word(action, f"{place}.actions") for action in actions),
        scope=_text(entry["scope"], f"{place}.scope", longest=255) if "scope" in entry else None,
        effect=cast(Literal["allow", "deny"], effect),
    )


def _required_in(entry: Mapping[str, object], place: str, field: str) -> object:
    if field not in entry:
        raise ManifestRefused(f"{place}.{field}", "is missing")
    return entry[field]


def _word(value: object, field: str) -> str:
    text = _text(value, field, longest=127)
    if not _WORD.fullmatch(text):
        raise ManifestRefused(field, "must be a word of letters, digits and _ . * : / -")
    return text


def _flags(name: str, table: object) -> Mapping[str, Scalar]:
    place = f"permissions.{name}"
    if not isinstance(table, dict) or len(table) > _MOST_ENTRIES:
        raise ManifestRefused(place, f"must be a table of at most {_MOST_ENTRIES} actions")
    return MappingProxyType({_word(key, place): _flag(value, f"{place}.{key}") for key, value in table.items()})


def _flag(value: object, place: str) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, place, longest=255)
    if isinstance(value, list) and len(value) <= _MOST_ENTRIES:
        return tuple(_text(entry, place, longest=255) for entry in value)
    raise ManifestRefused(place, "must be true, false, a string or a list of strings")


def _resources(value: object) -> Mapping[str, int]:
    if not isinstance(value, dict):
        raise ManifestRefused("resources", "must be a table")
    found: dict[str, int] = {}
    for name, amount in value.items():
        if name == "rate_limit":
            if not isinstance(amount, dict) or amount.keys() != {"calls", "period_seconds"}:
                raise ManifestRefused("resources.rate_limit", "must have calls and period_seconds")
            found |= {f"rate_limit.{key}": _amount(part, f"resources.rate_limit.{key}") for key, part in amount.items()}
        elif name in _RESOURCES:
            found[name] = _amount(amount, f"resources.{name}")
        else:
            raise ManifestRefused(f"resources.{name}", "there is no such field")
    return MappingProxyType(found)


def _amount(value: object, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**53:
        raise ManifestRefused(place, "must be a positive integer")
    return value
