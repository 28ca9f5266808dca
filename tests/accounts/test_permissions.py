"""The role × action table: complete, and as small as it is meant to be."""

from accounts.models import SCOPES, Role
from accounts.permissions import (
    KEY_BUILDS,
    KEY_READS,
    KEY_WRITES,
    TABLE,
    actions_of_operator,
    actions_of_role,
    actions_of_scopes,
    is_allowed,
)


def test_an_owner_may_do_everything_and_a_viewer_writes_nothing():
    assert actions_of_role(Role.OWNER) == TABLE.keys()
    assert not [action for action in actions_of_role(Role.VIEWER) if action.endswith(".write")]
    assert actions_of_role(Role.ADMIN) == TABLE.keys() - {"owners.write"}
    assert not is_allowed(Role.BILLING, "keys.read")
    assert is_allowed(Role.DEVELOPER, "keys.write")


def test_keys_never_manage_people_nor_security():
    everything = actions_of_scopes(frozenset(SCOPES))
    assert everything == KEY_READS | KEY_WRITES | KEY_BUILDS
    assert not {"members.write", "owners.write", "security.write"} & everything
    assert actions_of_scopes(frozenset({"plugins:authenticate", "registry:read"})) == frozenset()
    assert actions_of_scopes(frozenset({"account:write"})) == KEY_WRITES


def test_only_superusers_can_give_themselves_more():
    more = actions_of_operator(is_superuser=True) - actions_of_operator(is_superuser=False)
    assert more == {"manage.operators.write", "manage.signing_keys.write"}
