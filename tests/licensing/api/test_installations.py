"""Installations over HTTP: what counts as one, who holds a place, and when it is free again."""

from typing import Any

import pytest
from django.http import HttpResponse
from pytest_django import Settings

from accounts.services.api_keys import rotate_api_key
from accounts.services.customers import suspend_customer
from licensing.core.clock import from_epoch
from licensing.core.models import AuditEvent, OutboxEvent
from licensing.models import Installation, Lockdown, Plugin, SignedKeySet, Tier
from licensing.services.installations import places_taken, release_installation
from tests.licensing.api.driver import PluginApi, answer, claims, code_of, signed
from tests.licensing.cast import ACTOR, T0, Cast, Member, make_key, subscribe
from tests.licensing.conftest import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_valkey")]

LEASE = 72 * 3600
LEASE_STEP = 900


@pytest.fixture
def acme(cast: Cast, clock: Clock) -> Member:
    subscribe(cast.acme.customer, installation_limit=2)
    return cast.acme


def on(machine: str, **described: Any) -> dict[str, Any]:
    return {"installation": {"fingerprint": f"machine-{machine}", **described}}


def installation_of(response: HttpResponse) -> str:
    assert response.status_code == 200, response.content
    return str(answer(response)["installation_id"])


def release(installation_id: str, *, now: float, confirmed: bool = False) -> None:
    release_installation(
        installation=Installation.objects.get(pk=installation_id),
        reason="portal",
        confirmed=confirmed,
        actor=ACTOR,
        now=from_epoch(now),
    )


def test_who_asks_too_often_takes_no_place_and_leaves_no_row(
    api: PluginApi, cast: Cast, clock: Clock, settings: Settings
) -> None:
    """Neither a new machine, for which a place would be free, nor a known one."""
    subscribe(cast.acme.customer, installation_limit=1)
    settings.RATE_LIMIT_PER_MINUTE, settings.RATE_LIMIT_BURST = 1, 3
    first = installation_of(api.authenticate(cast.acme, **on("a")))
    for _ in range(2):
        assert api.authenticate(cast.acme, **on("a")).status_code == 200
    assert api.authenticate(cast.acme, **on("a")).status_code == 429
    release(first, now=T0, confirmed=True)
    rows = AuditEvent.objects.count()
    refused = api.authenticate(cast.acme, **on("b"))
    assert (refused.status_code, code_of(refused)) == (429, "RATE_LIMITED")
    assert [row.pk for row in Installation.objects.all()] == [first]
    assert AuditEvent.objects.count() == rows
    assert AuditEvent.objects.filter(action="plugin.authenticated").count() == 3


@pytest.mark.parametrize("lease_seconds", [0, LEASE])
def test_every_authenticate_leaves_a_row_whether_it_moves_a_lease_or_not(
    api: PluginApi, acme: Member, lease_seconds: int
) -> None:
    Plugin.objects.update(lease_seconds=lease_seconds)
    answers = [api.authenticate(acme, **on("a")) for _ in range(3)]
    [machine] = {installation_of(each) for each in answers}
    rows = AuditEvent.objects.filter(action="plugin.authenticated").order_by("id")
    assert [row.request_id for row in rows] == [each.headers["X-Request-ID"] for each in answers]
    for row in rows:
        assert (row.actor_kind, row.actor_id, row.customer_id) == ("api_key", acme.api_key.pk, acme.customer.pk)
        assert (row.subject_kind, row.subject_id, row.code) == ("plugin", "console-logger", "VALID")
        assert row.detail["installation_id"] == machine


class TestWhatCountsAsOne:
    def test_the_same_fingerprint_is_the_same_installation(self, api: PluginApi, acme: Member) -> None:
        first = installation_of(api.authenticate(acme, **on("a")))
        again = installation_of(api.authenticate(acme, **on("a", hostname="renamed"), plugin_version="2.2.0"))
        assert first == again
        assert Installation.objects.filter(customer=acme.customer).count() == 1

    def test_each_plugin_on_a_machine_is_one(self, api: PluginApi, acme: Member) -> None:
        api.authenticate(acme, **on("a"))
        api.authenticate(acme, **signed(acme, **on("a")))
        assert code_of(api.authenticate(acme, **on("b"))) == "INSTALLATION_LIMIT_REACHED"

    def test_a_fingerprint_is_told_apart_by_its_letters_case(self, api: PluginApi, acme: Member) -> None:
        first = installation_of(api.authenticate(acme, **on("a")))
        assert installation_of(api.authenticate(acme, **on("A"))) != first

    def test_another_key_of_the_customer_is_the_same_machine(self, api: PluginApi, acme: Member) -> None:
        first = installation_of(api.authenticate(acme, **on("a")))
        issued = rotate_api_key(api_key=acme.api_key, overlap_seconds=0, actor=ACTOR, now=from_epoch(T0))
        assert installation_of(api.authenticate(acme, key=issued.key, **on("a"))) == first

    def test_callers_without_a_machine_are_one_for_each_key_and_plugin(self, api: PluginApi, cast: Cast) -> None:
        acme, second = cast.acme, make_key(cast.acme.customer).key
        found = {
            installation_of(api.authenticate(acme, key=key, installation=None, plugin_name=plugin))
            for key in (acme.key, second, acme.key, second)
            for plugin in ("console-logger", "advanced-analytics")
        }
        assert len(found) == 4
        rows = Installation.objects.filter(customer=acme.customer)
        assert rows.count() == 4
        assert all(row.is_anonymous and row.fingerprint == f"anonymous:{row.api_key_id}" for row in rows)

    def test_one_without_a_machine_takes_a_place_too(self, api: PluginApi, acme: Member) -> None:
        api.authenticate(acme, installation=None)
        api.authenticate(acme, **on("a"))
        assert code_of(api.authenticate(acme, **on("b"))) == "INSTALLATION_LIMIT_REACHED"

    def test_nobody_can_pose_as_the_one_without_a_machine(self, api: PluginApi, acme: Member) -> None:
        api.authenticate(acme, installation=None)
        posing = {"fingerprint": f"anonymous:{acme.api_key.id}"}
        assert api.authenticate(acme, installation=posing).status_code == 400

    def test_what_the_machine_says_of_itself_is_kept(self, api: PluginApi, acme: Member) -> None:
        described = on("a", hostname="build-7.example", os="linux", arch="arm64")
        row = Installation.objects.get(pk=installation_of(api.authenticate(acme, **signed(acme, **described))))
        assert (row.hostname, row.os, row.arch) == ("build-7.example", "linux", "arm64")
        assert (row.version, row.build_id, row.api_key_id) == ("2.1.0", acme.build.id, acme.api_key.id)
        assert (row.mode, row.is_anonymous, row.last_seen_from) == ("live", False, "127.0.0.1")
        assert row.first_seen_at == row.last_seen_at == from_epoch(T0)


class TestLimit:
    @pytest.mark.parametrize(
        ("of_subscription", "of_tier", "places"),
        [(None, 2, 2), (3, 2, 3), (1, 2, 1), (0, 2, 0), (3, None, 3), (3, 0, 3)],
    )
    def test_the_subscriptions_else_the_tiers(
        self, api: PluginApi, cast: Cast, clock: Clock, of_subscription: int | None, of_tier: int | None, places: int
    ) -> None:
        Tier.objects.filter(pk="Pro").update(installation_limit=of_tier)
        subscribe(cast.acme.customer, installation_limit=of_subscription)
        answers = [code_of(api.authenticate(cast.acme, **on(str(number)))) for number in range(places + 2)]
        assert answers == ["VALID"] * places + ["INSTALLATION_LIMIT_REACHED"] * 2

    def test_none_at_all(self, api: PluginApi, cast: Cast, clock: Clock) -> None:
        Tier.objects.filter(pk="Pro").update(installation_limit=None)
        assert {code_of(api.authenticate(cast.acme, **on(str(number)))) for number in range(30)} == {"VALID"}

    def test_a_lower_limit_takes_nobodys_place(self, api: PluginApi, acme: Member) -> None:
        tokens = [answer(api.authenticate(acme, **on(machine)))["token"] for machine in "ab"]
        subscribe(acme.customer, installation_limit=1)
        assert [code_of(api.refresh(token)) for token in tokens] == ["VALID", "VALID"]
        assert [code_of(api.authenticate(acme, **on(machine))) for machine in "ab"] == ["VALID", "VALID"]
        release(claims(tokens[0])["sub"], now=T0, confirmed=True)
        assert code_of(api.authenticate(acme, **on("c"))) == "INSTALLATION_LIMIT_REACHED"

    def test_a_refusal_leaves_nothing_behind(self, api: PluginApi, acme: Member) -> None:
        for machine in "ab":
            api.authenticate(acme, **on(machine))
        rows = Installation.objects.count()
        AuditEvent.objects.all().delete()
        OutboxEvent.objects.all().delete()
        assert code_of(api.authenticate(acme, **on("c"))) == "INSTALLATION_LIMIT_REACHED"
        assert Installation.objects.count() == rows
        assert [row.action for row in AuditEvent.objects.all()] == ["plugin.denied"]
        assert [event.name for event in OutboxEvent.objects.all()] == ["plugin.denied"]

    def test_each_customer_has_its_own(self, api: PluginApi, acme: Member, cast: Cast) -> None:
        for machine in "ab":
            api.authenticate(acme, **on(machine))
        assert api.authenticate(cast.globex, **on("c")).status_code == 200


class TestTestKeys:
    """Test keys decide alike; their installations are counted apart, at most twenty."""

    def test_apart_and_at_most_twenty(self, api: PluginApi, acme: Member) -> None:
        key = make_key(acme.customer, mode="test").key
        for machine in "ab":
            api.authenticate(acme, **on(machine))
        codes = [code_of(api.authenticate(acme, key=key, **on(f"ci-{number}"))) for number in range(21)]
        assert codes == ["VALID"] * 20 + ["INSTALLATION_LIMIT_REACHED"]
        assert code_of(api.authenticate(acme, **on("c"))) == "INSTALLATION_LIMIT_REACHED"
        assert places_taken(acme.id, "live", from_epoch(T0)) == 2

    def test_they_take_no_live_place(self, api: PluginApi, acme: Member) -> None:
        key = make_key(acme.customer, mode="test").key
        for number in range(5):
            assert api.authenticate(acme, key=key, **on(f"ci-{number}")).status_code == 200
        assert [code_of(api.authenticate(acme, **on(machine))) for machine in "abc"][:2] == ["VALID", "VALID"]

    def test_the_same_machine_in_both_modes_is_two(self, api: PluginApi, acme: Member) -> None:
        key = make_key(acme.customer, mode="test").key
        test, live = (api.authenticate(acme, key=each, **on("a")) for each in (key, acme.key))
        assert installation_of(test) != installation_of(live)
        assert claims(answer(test)["token"])["mode"] == claims(answer(test)["offline_lease"])["mode"] == "test"
        assert claims(answer(live)["token"])["mode"] == "live"

    def test_their_limit_is_not_the_subscriptions(self, api: PluginApi, acme: Member) -> None:
        subscribe(acme.customer, installation_limit=0)
        key = make_key(acme.customer, mode="test").key
        assert api.authenticate(acme, key=key, **on("ci")).status_code == 200


class TestRelease:
    """A release that the machine did not confirm leaves it its lease, and so its place."""

    def test_the_place_is_kept_until_the_lease_has_run_out(self, api: PluginApi, acme: Member, clock: Clock) -> None:
        first = api.authenticate(acme, **on("a"))
        api.authenticate(acme, **on("b"))
        release(installation_of(first), now=T0 + 10)
        lease_end = claims(answer(first)["offline_lease"])["exp"]
        assert lease_end == T0 + LEASE
        for now in (T0 + 10, T0 + LEASE // 2, lease_end - 1):
            clock.now = now
            assert code_of(api.authenticate(acme, **on("c"))) == "INSTALLATION_LIMIT_REACHED", now
        clock.now = lease_end + LEASE_STEP
        assert api.authenticate(acme, **on("c")).status_code == 200

    def test_a_refresh_prolongs_what_is_kept(self, api: PluginApi, acme: Member, clock: Clock) -> None:
        first = api.authenticate(acme, **on("a"))
        api.authenticate(acme, **on("b"))
        clock.now = T0 + 800
        lease_end = claims(answer(api.refresh(answer(first)["token"]))["offline_lease"])["exp"]
        assert lease_end == T0 + 800 + LEASE
        release(installation_of(first), now=clock.now)
        clock.now = lease_end - 1
        assert code_of(api.authenticate(acme, **on("c"))) == "INSTALLATION_LIMIT_REACHED"

    def test_without_leases_the_place_is_free_at_once(self, api: PluginApi, acme: Member) -> None:
        Plugin.objects.update(lease_seconds=0)
        first = installation_of(api.authenticate(acme, **on("a")))
        api.authenticate(acme, **on("b"))
        release(first, now=T0)
        assert api.authenticate(acme, **on("c")).status_code == 200

    def test_the_machine_itself_may_come_back_to_its_place(self, api: PluginApi, acme: Member) -> None:
        first = api.authenticate(acme, **on("a"))
        api.authenticate(acme, **on("b"))
        release(installation_of(first), now=T0)
        assert code_of(api.validate(answer(first)["token"])) == "TOKEN_REVOKED"
        back = api.authenticate(acme, **on("a"))
        assert installation_of(back) == installation_of(first)
        assert code_of(api.validate(answer(back)["token"])) == "VALID"
        assert code_of(api.validate(answer(first)["token"])) == "TOKEN_REVOKED"
        assert code_of(api.authenticate(acme, **on("c"))) == "INSTALLATION_LIMIT_REACHED"

    def test_a_machine_whose_lease_is_over_needs_a_place_like_any(
        self, api: PluginApi, acme: Member, clock: Clock
    ) -> None:
        first = installation_of(api.authenticate(acme, **on("a")))
        release(first, now=T0)
        clock.now = T0 + LEASE + LEASE_STEP
        for machine in "bc":
            assert api.authenticate(acme, **on(machine)).status_code == 200
        assert code_of(api.authenticate(acme, **on("a"))) == "INSTALLATION_LIMIT_REACHED"

    def test_releasing_twice_changes_nothing(self, api: PluginApi, acme: Member) -> None:
        first = installation_of(api.authenticate(acme, **on("a")))
        release(first, now=T0 + 1)
        OutboxEvent.objects.all().delete()
        release(first, now=T0 + 2)
        assert Installation.objects.get(pk=first).released_at == from_epoch(T0 + 1)
        assert not OutboxEvent.objects.exists()


class TestDeactivate:
    """The machine's own word that it is gone: its place is free now, and its lease with it."""

    def test_the_place_is_free_at_once(self, api: PluginApi, acme: Member) -> None:
        first = api.authenticate(acme, **on("a"))
        api.authenticate(acme, **on("b"))
        response = api.deactivate(answer(first)["token"])
        assert (response.status_code, answer(response)) == (
            200,
            {"success": True, "installation_id": installation_of(first), "released": True},
        )
        row = Installation.objects.get(pk=installation_of(first))
        assert (row.released_at, row.released_reason, row.lease_until) == (from_epoch(T0), "deactivated", None)
        assert api.authenticate(acme, **on("c")).status_code == 200

    def test_its_tokens_are_over(self, api: PluginApi, acme: Member) -> None:
        token = answer(api.authenticate(acme, **on("a")))["token"]
        second = answer(api.refresh(token))["token"]
        api.deactivate(token)
        for each in (token, second):
            assert code_of(api.validate(each)) == "TOKEN_REVOKED"
            assert code_of(api.refresh(each)) == "TOKEN_REVOKED"

    def test_asked_again_it_answers_the_same(self, api: PluginApi, acme: Member) -> None:
        token = answer(api.authenticate(acme, **on("a")))["token"]
        first = api.deactivate(token)
        counted = AuditEvent.objects.count(), OutboxEvent.objects.count()
        assert answer(api.deactivate(token)) == answer(first)
        assert (AuditEvent.objects.count(), OutboxEvent.objects.count()) == counted

    def test_it_confirms_a_release_that_was_made_for_it(self, api: PluginApi, acme: Member) -> None:
        first = api.authenticate(acme, **on("a"))
        api.authenticate(acme, **on("b"))
        release(installation_of(first), now=T0)
        assert code_of(api.authenticate(acme, **on("c"))) == "INSTALLATION_LIMIT_REACHED"
        assert api.deactivate(answer(first)["token"]).status_code == 200
        assert api.authenticate(acme, **on("c")).status_code == 200

    def test_an_old_token_cannot_deactivate_the_installation_that_came_back(self, api: PluginApi, acme: Member) -> None:
        old = answer(api.authenticate(acme, **on("a")))["token"]
        api.deactivate(old)
        new = answer(api.authenticate(acme, **on("a")))["token"]
        response = api.deactivate(old)
        assert (response.status_code, code_of(response)) == (401, "TOKEN_REVOKED")
        assert code_of(api.validate(new)) == "VALID"
        denial = AuditEvent.objects.filter(action="plugin.denied").get()
        assert (denial.code, denial.actor_kind) == ("TOKEN_REVOKED", "plugin_token")

    def test_whoever_pays_no_more_may_still_give_back(self, api: PluginApi, acme: Member) -> None:
        tokens = [answer(api.authenticate(acme, **on(machine)))["token"] for machine in "ab"]
        subscribe(acme.customer, status="expired", installation_limit=2)
        assert api.deactivate(tokens[0]).status_code == 200
        suspend_customer(customer=acme.customer, reason="", actor=ACTOR, now=from_epoch(T0))
        Lockdown.objects.create()
        assert api.deactivate(tokens[1]).status_code == 200

    def test_it_is_audited_and_told(self, api: PluginApi, acme: Member) -> None:
        token = answer(api.authenticate(acme, **on("a")))["token"]
        AuditEvent.objects.all().delete()
        OutboxEvent.objects.all().delete()
        response = api.deactivate(token)
        row = AuditEvent.objects.get()
        assert (row.action, row.actor_kind, row.actor_id) == (
            "installation.released",
            "plugin_token",
            claims(token)["sub"],
        )
        assert row.request_id == response["X-Request-ID"]
        assert row.detail == {"plugin": "console-logger", "reason": "deactivated", "confirmed": True}
        assert OutboxEvent.objects.get().name == "installation.released"


def test_a_key_that_signs_for_nobody_yet_takes_no_place(api: PluginApi, acme: Member) -> None:
    """A 503 is no answer: it must not have used a place up."""

    SignedKeySet.objects.update(kids=[])
    response = api.authenticate(acme, **on("a"))
    assert (response.status_code, code_of(response)) == (503, "SERVICE_UNAVAILABLE")
    assert not Installation.objects.filter(customer=acme.customer).exists()
