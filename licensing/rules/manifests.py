"""Permission manifests: what one version of a plugin may do on a host, in one canonical form.

Three written forms are read: the list of {resource, action, scope} and the nested form {resource: {action: yes}}
(seed: plugin-security-model.md), and {resource, actions, effect} with globs (seed: xcore-security-best-practices.md).
What is not allowed is denied; where both speak, deny wins. Globs are anchored at both ends and know `*` alone.

Canonical form, all members always there::

    {"permissions": [{"resource", "action", "scope": str | null, "effect": "allow" | "deny"}],
     "limits": {"timeout_seconds", "max_memory_mb", "max_disk_mb", "rate_limit": {"calls", "period_seconds"} | null},
     "filesystem": {"allowed_paths": [], "denied_paths": []},
     "network": {"allowed_hosts": []},
     "short": ["storage:read", "data:read:user-data", "!scheduler:*"]}
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

ALLOW: Final = "allow"
DENY: Final = "deny"
MAX_PERMISSIONS: Final = 500
MAX_LISTED: Final = 200
FILESYSTEM: Final = "filesystem"
NETWORK: Final = "network"
_ANY_SCOPE: Final = ("all", "*")
_NAME: Final = re.compile(r"[A-Za-z0-9*][A-Za-z0-9_.*-]{0,63}")
_SCOPE: Final = re.compile(r"[!-~]{1,200}")
_HOST: Final = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_MEMBERS: Final = ("permissions", "resources", "limits", "filesystem", "network")
_LIMITS: Final = {"timeout_seconds": 86_400, "max_memory_mb": 1_048_576, "max_disk_mb": 16_777_216}


class ManifestInvalid(ValueError):
    """A manifest cannot be read; `field` names where, such as `permissions[2].effect`."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail


def parse_manifest(written: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a manifest of any written form into the canonical one. The canonical form itself comes back as it is.

    Raises:
        ManifestInvalid: naming the field.
    """
    for name in written:
        if name not in (*_MEMBERS, "short"):
            raise ManifestInvalid(name, "there is no such member here")
    if "resources" in written and "limits" in written:
        raise ManifestInvalid("limits", "give resources or limits, not both")
    permissions = list(_permissions(written.get("permissions", [])))
    if len(permissions) > MAX_PERMISSIONS:
        raise ManifestInvalid("permissions", f"at most {MAX_PERMISSIONS}")
    limits_name = "limits" if "limits" in written else "resources"
    return {
        "permissions": permissions,
        "limits": _limits(written.get(limits_name, {}), limits_name),
        "filesystem": _filesystem(written.get("filesystem", {})),
        "network": _network(written.get("network", {})),
        "short": [_short(permission) for permission in permissions],
    }


def is_allowed(manifest: Mapping[str, Any], resource: str, action: str, scope: str | None = None) -> bool:
    """Whether a canonical manifest allows an action on a resource.

    Without a scope it asks whether the action is allowed in some scope. For the resources `filesystem` and `network`
    a scope is a path or a host, and the allow-lists speak too where there are any.
    """
    matching = [entry for entry in manifest["permissions"] if _speaks_of(entry, resource, action, scope)]
    if any(entry["effect"] == DENY for entry in matching) or not matching:
        return False
    if scope is None:
        return True
    if resource == FILESYSTEM and _has_paths(manifest):
        return is_path_allowed(manifest, scope)
    if resource == NETWORK and manifest["network"]["allowed_hosts"]:
        return is_host_allowed(manifest, scope)
    return True


def is_path_allowed(manifest: Mapping[str, Any], path: str) -> bool:
    """Whether a path lies under an allowed one and under no denied one, whatever `..` it is written with."""
    normal = normal_path(path)
    if normal is None:
        return False
    listed = manifest["filesystem"]
    if any(_is_under(normal, denied) for denied in listed["denied_paths"]):
        return False
    return any(_is_under(normal, allowed) for allowed in listed["allowed_paths"])


def is_host_allowed(manifest: Mapping[str, Any], host: str) -> bool:
    """Whether a host name is listed, as itself or under a `*.` pattern (which does not stand for its own parent)."""
    name = host.lower().removesuffix(".")
    if not _HOST.fullmatch(name) or name.startswith("*."):
        return False
    return any(_is_host(name, pattern) for pattern in manifest["network"]["allowed_hosts"])


def normal_path(path: str) -> str | None:
    """A path as it is compared: with `/`, without `.` and `..`; None for one that leaves where it starts."""
    if not path or "\x00" in path:
        return None
    slashed = path.replace("\\", "/")
    if re.match(r"[A-Za-z]:", slashed):
        return None
    normal = posixpath.normpath(slashed)
    if normal == ".." or normal.startswith("../"):
        return None
    # POSIX keeps two leading slashes; here they are one.
    return "/" + normal.lstrip("/") if normal.startswith("/") else normal


# -- Deciding


def _speaks_of(entry: Mapping[str, Any], resource: str, action: str, scope: str | None) -> bool:
    if not (_matches(entry["resource"], resource) and _matches(entry["action"], action)):
        return False
    if entry["scope"] is None:
        return True
    if scope is None:
        # A denial of one scope leaves the others; a grant of one is a grant in some.
        return bool(entry["effect"] == ALLOW)
    return _matches(entry["scope"], scope)


def _matches(pattern: str, text: str) -> bool:
    """Whether an anchored glob covers the whole of `text`; in linear time, unlike a regular expression's."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    *middle, last = rest
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _is_under(path: str, listed: str) -> bool:
    """Whether `path` is `listed` or lies in it; both normal."""
    if listed == ".":
        return not path.startswith("/")
    return path == listed or path.startswith(listed.rstrip("/") + "/")


def _is_host(name: str, pattern: str) -> bool:
    if pattern == "*":
        return True
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else name == pattern


def _has_paths(manifest: Mapping[str, Any]) -> bool:
    return bool(manifest["filesystem"]["allowed_paths"] or manifest["filesystem"]["denied_paths"])


# -- Reading


def _permissions(written: Any) -> Iterator[dict[str, Any]]:
    if isinstance(written, list):
        for index, entry in enumerate(written):
            yield from _listed(entry, f"permissions[{index}]")
    elif isinstance(written, Mapping):
        for resource, actions in written.items():
            yield from _nested(resource, actions)
    else:
        raise ManifestInvalid("permissions", "a list or an object")


def _listed(entry: Any, field: str) -> Iterator[dict[str, Any]]:
    if not isinstance(entry, Mapping):
        raise ManifestInvalid(field, "an object")
    for name in entry:
        if name not in ("resource", "action", "actions", "scope", "effect"):
            raise ManifestInvalid(f"{field}.{name}", "there is no such member here")
    if ("action" in entry) == ("actions" in entry):
        raise ManifestInvalid(f"{field}.action", "give action or actions")
    effect = entry.get("effect", ALLOW)
    if effect not in (ALLOW, DENY):
        raise ManifestInvalid(f"{field}.effect", "allow or deny")
    actions = entry.get("actions", [entry.get("action")])
    if not isinstance(actions, list) or not actions:
        raise ManifestInvalid(f"{field}.actions", "a list of at least one")
    resource = _name(entry.get("resource"), f"{field}.resource")
    scope = _scope(entry.get("scope"), f"{field}.scope")
    for place, action in enumerate(actions):
        named = f"{field}.actions[{place}]" if "actions" in entry else f"{field}.action"
        if action == "none":
            # The seed's way to say that a resource is out of bounds.
            yield _permission(resource, "*", None, DENY)
        else:
            yield _permission(resource, _name(action, named), scope, effect)


def _nested(resource: Any, actions: Any) -> Iterator[dict[str, Any]]:
    field = f"permissions.{resource}"
    name = _name(resource, field)
    if not isinstance(actions, Mapping):
        raise ManifestInvalid(field, "an object of actions")
    for action, value in actions.items():
        place = f"{field}.{action}"
        checked = _name(action, place)
        if isinstance(value, bool):
            yield _permission(name, checked, None, ALLOW if value else DENY)
        elif isinstance(value, list):
            if not value:
                yield _permission(name, checked, None, DENY)
            for index, scope in enumerate(value):
                yield _permission(name, checked, _scope(scope, f"{place}[{index}]", is_required=True), ALLOW)
        else:
            raise ManifestInvalid(place, "true, false, or a list of scopes")


def _permission(resource: str, action: str, scope: str | None, effect: str) -> dict[str, Any]:
    return {"resource": resource, "action": action, "scope": scope, "effect": effect}


def _short(entry: Mapping[str, Any]) -> str:
    parts = [entry["resource"], entry["action"], *([entry["scope"]] if entry["scope"] else [])]
    return ("!" if entry["effect"] == DENY else "") + ":".join(parts)


def _name(value: Any, field: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ManifestInvalid(field, "1 to 64 letters, digits, . _ - or *")
    return value


def _scope(value: Any, field: str, *, is_required: bool = False) -> str | None:
    if value is None and not is_required:
        return None
    if not isinstance(value, str) or not _SCOPE.fullmatch(value):
        raise ManifestInvalid(field, "1 to 200 visible ASCII characters")
    return None if value in _ANY_SCOPE else value


def _limits(written: Any, field: str) -> dict[str, Any]:
    members = _object(written, field, (*_LIMITS, "rate_limit"))
    limits: dict[str, Any] = {
        name: _whole(members.get(name), f"{field}.{name}", maximum) for name, maximum in _LIMITS.items()
    }
    limits["rate_limit"] = None
    if members.get("rate_limit") is not None:
        rate = _object(members["rate_limit"], f"{field}.rate_limit", ("calls", "period_seconds"))
        limits["rate_limit"] = {
            "calls": _required(rate, "calls", f"{field}.rate_limit", 1_000_000_000),
            "period_seconds": _required(rate, "period_seconds", f"{field}.rate_limit", 86_400),
        }
    return limits


def _filesystem(written: Any) -> dict[str, Any]:
    members = _object(written, "filesystem", ("allowed_paths", "denied_paths"))
    allowed = [
        _allowed_path(text, f"filesystem.allowed_paths[{index}]")
        for index, text in enumerate(_texts(members.get("allowed_paths", []), "filesystem.allowed_paths"))
    ]
    denied = []
    for index, text in enumerate(_texts(members.get("denied_paths", []), "filesystem.denied_paths")):
        normal = normal_path(text)
        # `../` says what always holds: nothing outside of the plugin's own place.
        if normal is not None:
            denied.append(normal)
        elif not re.fullmatch(r"(?:\.\.[/\\]?)+", text):
            raise ManifestInvalid(f"filesystem.denied_paths[{index}]", "a path that stays where it starts")
    return {"allowed_paths": allowed, "denied_paths": denied}


def _allowed_path(text: str, field: str) -> str:
    normal = normal_path(text)
    if normal is None:
        raise ManifestInvalid(field, "a path that stays where it starts")
    return normal


def _network(written: Any) -> dict[str, Any]:
    members = _object(written, "network", ("allowed_hosts", "allowed_domains"))
    if "allowed_hosts" in members and "allowed_domains" in members:
        raise ManifestInvalid("network.allowed_domains", "give allowed_hosts or allowed_domains, not both")
    name = "allowed_domains" if "allowed_domains" in members else "allowed_hosts"
    hosts = []
    for index, text in enumerate(_texts(members.get(name, []), f"network.{name}")):
        host = text.lower().removesuffix(".")
        if host != "*" and not (len(host) <= 253 and _HOST.fullmatch(host)):
            raise ManifestInvalid(f"network.{name}[{index}]", "a host name, perhaps after `*.`; or `*` for any")
        hosts.append(host)
    return {"allowed_hosts": hosts}


def _object(written: Any, field: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(written, Mapping):
        raise ManifestInvalid(field, "an object")
    for name in written:
        if name not in known:
            raise ManifestInvalid(f"{field}.{name}", "there is no such member here")
    return written


def _texts(written: Any, field: str) -> list[str]:
    if not isinstance(written, list) or len(written) > MAX_LISTED:
        raise ManifestInvalid(field, f"a list of at most {MAX_LISTED}")
    for index, text in enumerate(written):
        if not isinstance(text, str) or not 1 <= len(text) <= 1024:
            raise ManifestInvalid(f"{field}[{index}]", "text of 1 to 1024 characters")
    return written


def _required(members: Mapping[str, Any], name: str, field: str, maximum: int) -> int:
    value = _whole(members.get(name), f"{field}.{name}", maximum)
    if value is None:
        raise ManifestInvalid(f"{field}.{name}", "this field is required")
    return value


def _whole(value: Any, field: str, maximum: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= maximum:
        raise ManifestInvalid(field, f"a whole number from 1 to {maximum}")
    return value
