"""Every kind of change is heard, whoever makes it; what this process writes it reads at once."""

import time
from collections.abc import Callable

import psycopg
import pytest
from django.db import connection, transaction
from psycopg.conninfo import make_conninfo

from accounts.services.api_keys import revoke_api_key
from licensing.core.clock import from_epoch
from licensing.services.state import Snapshots, State, decide
from licensing.snapshots.boot_clock import boot_seconds
from licensing.snapshots.protocol import CATALOGUE, PROMISE_SECONDS
from tests.licensing.api.driver import PluginApi, code_of
from tests.licensing.cast import ACTOR, T0, Cast

pytestmark = pytest.mark.django_db(transaction=True)

OF_ONE_CUSTOMER = {
    "customer renamed": "UPDATE customer SET name = 'Other' WHERE id = 'cust_123'",
    "customer suspended": "UPDATE customer SET suspended_at = now() WHERE id = 'cust_123'",
    "proof required": "UPDATE customer SET proof_required = true WHERE id = 'cust_123'",
    "key revoked": "UPDATE api_key SET revoked_at = now() WHERE customer_id = 'cust_123'",
    "key bound to addresses": "UPDATE api_key SET cidrs = '{192.0.2.0/24}' WHERE customer_id = 'cust_123'",
    "tier changed": "UPDATE subscription SET tier_id = 'Free' WHERE customer_id = 'cust_123'",
    "subscription ended": "DELETE FROM subscription WHERE customer_id = 'cust_123'",
    "override": "INSERT INTO entitlement (id, customer_id, feature_id, kind, value, source, updated_at)"
    " VALUES ('ent_1', 'cust_123', 'api_logging', 'override', 'false', '', now())",
    "access to a plugin": "INSERT INTO plugin_access (plugin_id, customer_id)"
    " VALUES ('custom-compliance-reporter', 'cust_123')",
    "generation": "INSERT INTO generation (customer_id, kind, subject_id, value)"
    " VALUES ('cust_123', 'customer', 'cust_123', 1)",
    "installation in quarantine": "INSERT INTO quarantine (id, scope, plugin_name, target, customer_id, reason,"
    " created_by, lifted_by) VALUES ('qua_1', 'installation', '', 'inst_1', 'cust_123', '', '', '')",
}
OF_THE_CATALOGUE = {
    "lockdown": "INSERT INTO lockdown (id, reason, started_by) VALUES (1, '', '')",
    "tier": "UPDATE tier SET events_per_day = 1 WHERE name = 'Pro'",
    "tier's grant": "UPDATE tier_grant SET value = '99' WHERE feature_id = 'history_days' AND tier_id = 'Pro'",
    "feature": "INSERT INTO feature (code, value_type, name, description, updated_at)"
    " VALUES ('fresh', 'bool', '', '', now())",
    "plugin": "UPDATE plugin SET minimum_version = '9.0.0' WHERE name = 'console-logger'",
    "plugin's feature": "DELETE FROM plugin_feature WHERE plugin_id = 'console-logger'",
    "plugin in quarantine": "INSERT INTO quarantine (id, scope, plugin_name, target, reason, created_by,"
    " lifted_by) VALUES ('qua_1', 'plugin', 'console-logger', '', '', '', '')",
    "signing key": "UPDATE signing_key SET state = 'retired' WHERE purpose = 'lease'",
}
OF_ALL = {
    "bulk update": "UPDATE subscription SET status = 'paused'",
    "truncate": "TRUNCATE generation",
}


def elsewhere(statement: str) -> None:
    """Change something by a connection that this server knows nothing of."""
    with psycopg.connect(_url(), autocommit=True) as other:
        other.execute(statement.encode())


def _url() -> str:
    params = connection.get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    return make_conninfo("", **{name: params[name] for name in names if name in params})


Read = Callable[[State], object]


def kept(snapshots: Snapshots, key: str) -> object:
    """What memory holds of it at this moment; the same object for as long as nothing was heard."""
    ticket = snapshots.cache.read(key, boot_seconds())
    return None if ticket is None else ticket.value


def cached(snapshots: Snapshots, key: str) -> object:
    """What memory holds, once it stays there: what the cast wrote is still being told for a moment."""
    deadline = time.monotonic() + 30
    while True:
        heard = snapshots.cache.counters().heartbeats
        decide(READS[key])
        first = kept(snapshots, key)
        while snapshots.cache.counters().heartbeats <= heard + 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if first is not None and kept(snapshots, key) is first:
            return first


def customer(state: State) -> object:
    return state.customer("cust_123")


def other_customer(state: State) -> object:
    return state.customer("initech")


def catalogue(state: State) -> object:
    return state.catalogue()


READS: dict[str, Read] = {"cust_123": customer, "initech": other_customer, CATALOGUE: catalogue}


def obeyed_in(seconds: float, is_obeyed: Callable[[], bool], change: str = "") -> float:
    began = boot_seconds()
    while not is_obeyed():
        assert boot_seconds() - began < seconds, change
        time.sleep(0.002)
    return boot_seconds() - began


def test_every_change_of_one_customer(snapshots: Snapshots, fresh_cast: Cast) -> None:
    for change, statement in OF_ONE_CUSTOMER.items():
        cached(snapshots, "cust_123")
        before, other = decide(customer), cached(snapshots, "initech")
        elsewhere(statement)
        obeyed_in(PROMISE_SECONDS, lambda before=before: decide(customer) != before, change)
        assert kept(snapshots, "initech") is other, change


def test_every_change_of_the_catalogue(snapshots: Snapshots, fresh_cast: Cast) -> None:
    for change, statement in OF_THE_CATALOGUE.items():
        before = cached(snapshots, CATALOGUE)
        elsewhere(statement)
        obeyed_in(PROMISE_SECONDS, lambda before=before: decide(catalogue) != before, change)


def test_every_change_of_many(snapshots: Snapshots, fresh_cast: Cast) -> None:
    for change, statement in OF_ALL.items():
        for key in ("cust_123", "initech"):
            before = cached(snapshots, key)
            elsewhere(statement)
            obeyed_in(PROMISE_SECONDS, lambda key=key, before=before: kept(snapshots, key) is not before, change)


def test_its_own_writes_are_read_at_once(api: PluginApi, snapshots: Snapshots, fresh_cast: Cast) -> None:
    cached(snapshots, "cust_123")
    snapshots.listener.stop()  # what it hears could only come later
    token = api.token(fresh_cast.acme)
    assert code_of(api.validate(token)) == "VALID"
    revoke_api_key(api_key=fresh_cast.acme.api_key, actor=ACTOR, now=from_epoch(T0))
    assert code_of(api.validate(token)) == "TOKEN_REVOKED"


def test_what_a_transaction_sees_is_for_itself_alone(snapshots: Snapshots, fresh_cast: Cast) -> None:
    with transaction.atomic():
        fresh_cast.acme.customer.name = "Never"
        fresh_cast.acme.customer.save()
        seen = decide(lambda state: state.customer("cust_123"))
        transaction.set_rollback(True)
    assert seen is not None
    assert seen.name == "Never"
    after = decide(lambda state: state.customer("cust_123"))
    assert after is not None
    assert after.name != "Never"


def test_seeing_usage_and_audit_tell_nobody(api: PluginApi, snapshots: Snapshots, fresh_cast: Cast) -> None:
    api.token(fresh_cast.acme)
    cached(snapshots, "cust_123")
    before = snapshots.cache.counters().invalidations
    for _ in range(5):
        assert api.authenticate(fresh_cast.acme).status_code == 200
    heard = snapshots.cache.counters().heartbeats
    obeyed_in(3, lambda: snapshots.cache.counters().heartbeats > heard + 1)
    assert snapshots.cache.counters().invalidations == before
