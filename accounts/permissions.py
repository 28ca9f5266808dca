"""Who may do what in a customer's organisation: one table, for the account API and the portal alike.

`TABLE` maps an action to the roles that have it. API keys have no role but scopes: `account:read` carries every action
that only reads, `account:write` those of `KEY_WRITES`, `builds` those of `KEY_BUILDS`. People and security are managed
by people alone.
"""

from typing import Final

from accounts.models import Role

_ALL: Final = frozenset(Role)
_OWNER: Final = frozenset({Role.OWNER})
_ADMINS: Final = frozenset({Role.OWNER, Role.ADMIN})
_TECHNICAL: Final = frozenset({Role.OWNER, Role.ADMIN, Role.DEVELOPER})
_MONEY: Final = frozenset({Role.OWNER, Role.ADMIN, Role.BILLING})

TABLE: Final[dict[str, frozenset[Role]]] = {
    "customer.read": _ALL,
    "subscription.read": _ALL,
    "entitlements.read": _ALL,
    "plugins.read": _ALL,
    "usage.read": _ALL,
    "installations.read": _ALL,
    "installations.write": _TECHNICAL,
    "keys.read": _TECHNICAL,
    "keys.write": _TECHNICAL,
    "builds.read": _TECHNICAL | {Role.VIEWER},
    "builds.write": _TECHNICAL,
    "downloads.write": _TECHNICAL,
    "registry.read": _TECHNICAL | {Role.VIEWER},
    "registry.write": _TECHNICAL,
    "audit.read": _ADMINS | {Role.DEVELOPER},
    "billing.read": _MONEY,
    "members.read": _ADMINS | {Role.DEVELOPER, Role.BILLING, Role.VIEWER},
    "members.write": _ADMINS,
    "owners.write": _OWNER,
    "security.read": _ADMINS,
    "security.write": _ADMINS,
}
"""Action → roles. `owners.write` is making, changing or removing an owner."""

KEY_READS: Final = frozenset(action for action in TABLE if action.endswith(".read") and action != "security.read")
KEY_WRITES: Final = frozenset({"installations.write", "keys.write"})
KEY_BUILDS: Final = frozenset({"builds.read", "builds.write"})

OPERATOR_READS: Final = frozenset(
    {
        "manage.customers.read",
        "manage.keys.read",
        "manage.members.read",
        "manage.subscriptions.read",
        "manage.entitlements.read",
        "manage.installations.read",
        "manage.catalogue.read",
        "manage.signing_keys.read",
        "manage.quarantines.read",
        "manage.operators.read",
        "manage.audit.read",
        "manage.releases.read",
        "manage.builds.read",
    }
)
OPERATOR_WRITES: Final = frozenset(
    {
        "manage.customers.write",
        "manage.keys.write",
        "manage.members.write",
        "manage.subscriptions.write",
        "manage.entitlements.write",
        "manage.installations.write",
        "manage.catalogue.write",
        "manage.quarantines.write",
        "manage.lockdown.write",
        "manage.releases.write",
        "manage.builds.write",
    }
)
SUPERUSER_WRITES: Final = frozenset({"manage.operators.write", "manage.signing_keys.write"})
"""What lets a person give itself more: operators and their keys, and the keys that sign."""


def actions_of_role(role: str) -> frozenset[str]:
    """Everything that a role may do."""
    return frozenset(action for action, roles in TABLE.items() if role in roles)


def is_allowed(role: str, action: str) -> bool:
    """Whether a role may do an action. An action that is not in the table is a programming error."""
    return role in TABLE[action]


def actions_of_scopes(scopes: frozenset[str]) -> frozenset[str]:
    """Everything that an API key of these scopes may do on the account API."""
    reads = KEY_READS if "account:read" in scopes else frozenset[str]()
    builds = KEY_BUILDS if "builds" in scopes else frozenset[str]()
    return reads | builds | (KEY_WRITES if "account:write" in scopes else frozenset[str]())


def actions_of_operator(*, is_superuser: bool) -> frozenset[str]:
    """Everything that an operator may do on the management API."""
    return OPERATOR_READS | OPERATOR_WRITES | (SUPERUSER_WRITES if is_superuser else frozenset[str]())
