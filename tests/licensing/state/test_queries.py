"""How many statements a request costs, cold and warm (DESIGN §7 and §11)."""

import time
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from licensing.services.state import Snapshots, decide
from tests.licensing.api.driver import PluginApi, asked, code_of, signed
from tests.licensing.cast import Cast

pytestmark = pytest.mark.django_db(transaction=True)


class Counted(CaptureQueriesContext):
    def __init__(self) -> None:
        super().__init__(connection)


def settle(snapshots: Snapshots) -> None:
    """Wait until everything that the cast wrote has been heard."""
    heard, deadline = snapshots.cache.counters().heartbeats, time.monotonic() + 5
    while snapshots.cache.counters().heartbeats <= heard + 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_validate_warm_asks_nothing(api: PluginApi, snapshots: Snapshots, fresh_cast: Cast) -> None:
    token = api.token(fresh_cast.acme)
    settle(snapshots)
    api.validate(token)
    with Counted() as queries:
        assert code_of(api.validate(token)) == "VALID"
    assert len(queries) == 0


def test_validate_cold_asks_once_for_the_customer_and_once_for_the_catalogue(
    api: PluginApi, snapshots: Snapshots, fresh_cast: Cast
) -> None:
    token = api.token(fresh_cast.acme)
    settle(snapshots)
    api.validate(token)
    snapshots.cache.notify("cust_123")
    with Counted() as queries:
        assert code_of(api.validate(token)) == "VALID"
    assert len(queries) == 1
    snapshots.cache.notify("all")
    with Counted() as queries:
        assert code_of(api.validate(token)) == "VALID"
    assert len(queries) == 2


@pytest.mark.parametrize("is_signed", [False, True], ids=["unsigned", "signed"])
def test_authenticate_of_a_known_installation(
    api: PluginApi, snapshots: Snapshots, fresh_cast: Cast, is_signed: bool
) -> None:
    body = asked(fresh_cast.acme, **(signed(fresh_cast.acme) if is_signed else {}))
    settle(snapshots)
    assert api.post("authenticate", body, credential=fresh_cast.acme.key).status_code == 200
    with Counted() as queries:
        assert api.post("authenticate", body, credential=fresh_cast.acme.key).status_code == 200
    assert len(queries) <= 2


@pytest.mark.parametrize("is_signed", [False, True], ids=["unsigned", "signed"])
def test_refresh_while_its_lease_is_kept(
    api: PluginApi, snapshots: Snapshots, fresh_cast: Cast, is_signed: bool
) -> None:
    options: dict[str, Any] = signed(fresh_cast.acme) if is_signed else {}
    token = api.token(fresh_cast.acme, **options)
    settle(snapshots)
    assert api.refresh(token).status_code == 200
    with Counted() as queries:
        assert api.refresh(token).status_code == 200
    assert len(queries) == 1


def test_an_unknown_customer_is_asked_for_each_time(snapshots: Snapshots, fresh_cast: Cast) -> None:
    for _ in range(2):
        with Counted() as queries:
            assert decide(lambda state: state.customer("cust_nobody")) is None
        assert len(queries) == 1


@pytest.mark.parametrize("customer_id", ["", "all", "catalogue", "x" * 64], ids=["empty", "all", "catalogue", "long"])
def test_what_can_be_no_customer_is_not_asked_for(snapshots: Snapshots, fresh_cast: Cast, customer_id: str) -> None:
    with Counted() as queries:
        assert decide(lambda state: state.customer(customer_id)) is None
    assert len(queries) == 0


def test_a_key_of_the_wrong_shape_is_answered_without_a_statement(
    api: PluginApi, snapshots: Snapshots, fresh_cast: Cast
) -> None:
    settle(snapshots)
    api.token(fresh_cast.acme)
    with Counted() as queries:
        refused = api.authenticate(fresh_cast.acme, key="km_live_" + "x" * 36)
    assert (refused.status_code, len(queries)) == (401, 0)
