"""Which secrets each kind of process must have, and which it must not (DESIGN §4), as data.

`sign` alone holds the key of what PluginAuthority certifies. The `build` worker, which compiles other people's source,
holds nothing at all. `owner` runs migrations and an operator's commands: it needs no secret, and may be lent those of
the command at hand, but for the artifacts key.
"""

DJANGO_SECRET_KEY = "DJANGO_SECRET_KEY"  # noqa: S105  the names of settings, here and below
API_KEY_PEPPERS = "API_KEY_PEPPERS"
KEY_PURPOSES = ("auth", "builds", "tokens", "web", "artifacts")

ROLES = ("web", "files", "control", "build", "sign", "beat", "owner")


def kek_setting(purpose: str) -> str:
    """The setting that holds the key-encryption keys of a purpose."""
    return f"KEK_{purpose.upper()}"


def _keks(*purposes: str) -> frozenset[str]:
    return frozenset(map(kek_setting, purposes))


SECRETS = frozenset({DJANGO_SECRET_KEY, API_KEY_PEPPERS}) | _keks(*KEY_PURPOSES)

_REQUIRED: dict[str, frozenset[str]] = {
    "web": frozenset({DJANGO_SECRET_KEY, API_KEY_PEPPERS}) | _keks("auth", "builds", "tokens", "web"),
    "files": _keks("tokens"),
    "control": frozenset({DJANGO_SECRET_KEY, API_KEY_PEPPERS}) | _keks("auth", "builds", "web"),
    "build": frozenset(),
    "sign": _keks("tokens", "artifacts"),
    "beat": frozenset(),
    "owner": frozenset(),
}
_LENT_TO_OWNER = SECRETS - _keks("artifacts")


def required_secrets(role: str) -> frozenset[str]:
    """The secrets that a process of this role cannot work without, by the names of their settings."""
    return _REQUIRED[role]


def forbidden_secrets(role: str) -> frozenset[str]:
    """The secrets that a process of this role must not be given: what it does not hold cannot be taken from it."""
    return SECRETS - (_LENT_TO_OWNER if role == "owner" else _REQUIRED[role])
