"""Ends to the second: the instant itself belongs to the "after" (DESIGN §5)."""

from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import ApiKey
from licensing.core.clock import from_epoch, rfc3339
from licensing.models import BuildCredential, Feature, Installation, Plugin
from licensing.services.entitlements import grant_temporarily
from tests.licensing.api.conditions import Scene
from tests.licensing.api.driver import PluginApi, answer, claims, code_of
from tests.licensing.cast import ACTOR, DAY, PERIOD_END, T0, Cast, make_installation, subscribe
from tests.licensing.conftest import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_valkey")]

END = T0 + 1000
WEEK = 7 * DAY


@pytest.fixture
def scene(api: PluginApi, cast: Cast) -> Scene:
    return Scene(api, cast, cast.acme)


def _subscribed(**fields: Any) -> Callable[[Scene], object]:
    return lambda scene: subscribe(scene.member.customer, **fields)


def _key_expires(scene: Scene) -> object:
    return ApiKey.objects.filter(pk=scene.member.api_key.pk).update(expires_at=from_epoch(END))


def _build_expires(scene: Scene) -> object:
    return BuildCredential.objects.filter(pk=scene.member.build.id).update(expires_at=from_epoch(END))


ENDS: dict[str, tuple[Callable[[Scene], object], float, str]] = {
    "a key's own end": (_key_expires, END, "API_KEY_EXPIRED"),
    "a build's own end": (_build_expires, END, "BUILD_EXPIRED"),
    "a trial": (_subscribed(status="trialing", period_end=END), END, "SUBSCRIPTION_EXPIRED"),
    "a canceled subscription": (_subscribed(status="canceled", period_end=END), END, "SUBSCRIPTION_EXPIRED"),
    "a trial with a grace set": (
        _subscribed(status="trialing", period_end=END, grace_until=END + WEEK),
        END,
        "SUBSCRIPTION_EXPIRED",
    ),
    "past due, grace set": (
        _subscribed(status="past_due", period_end=T0 - DAY, grace_until=END),
        END,
        "SUBSCRIPTION_EXPIRED",
    ),
    "past due, seven days": (
        _subscribed(status="past_due", period_end=END - WEEK),
        END,
        "SUBSCRIPTION_EXPIRED",
    ),
    "active past its period, seven days": (
        _subscribed(status="active", period_end=END - WEEK),
        END,
        "SUBSCRIPTION_EXPIRED",
    ),
    "active past its period, grace set": (
        _subscribed(status="active", period_end=T0 - 1, grace_until=END),
        END,
        "SUBSCRIPTION_EXPIRED",
    ),
    "active, grace ended before its period": (
        _subscribed(status="active", period_end=END, grace_until=T0 - DAY),
        END,
        "SUBSCRIPTION_EXPIRED",
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_second_before_is_in_and_the_instant_is_out(scene: Scene, clock: Clock, name: str) -> None:
    arrange, end, code = ENDS[name]
    arrange(scene)
    for early in (1, 0.001):
        clock.now = end - early
        assert scene.ask().status_code == 200, name
    for late in (0, 0.001, 1, 10 * DAY):
        clock.now = end + late
        assert code_of(scene.ask()) == code, name


@pytest.mark.parametrize("status", ["paused", "expired"])
def test_paused_and_expired_hold_whatever_the_period_says(scene: Scene, clock: Clock, status: str) -> None:
    subscribe(scene.member.customer, status=status, period_end=PERIOD_END)
    assert code_of(scene.ask()) == f"SUBSCRIPTION_{status.upper()}"


def test_grace_is_told_only_while_the_customer_lives_on_it(scene: Scene, clock: Clock) -> None:
    subscribe(scene.member.customer, period_end=END, grace_until=END + 500)
    clock.now = END - 1
    assert answer(scene.ask())["grace_until"] is None
    clock.now = END
    assert answer(scene.ask())["grace_until"] == rfc3339(END + 500)


def test_a_token_ends_with_the_paid_period(scene: Scene, clock: Clock) -> None:
    subscribe(scene.member.customer, status="canceled", period_end=END)
    clock.now = END - 100
    body = answer(scene.ask())
    assert body["expires_at"] == body["next_refresh"] == rfc3339(END)


def test_a_token_ends_with_the_grace(scene: Scene, clock: Clock) -> None:
    subscribe(scene.member.customer, status="past_due", period_end=T0, grace_until=END)
    clock.now = END - 100
    assert answer(scene.ask())["expires_at"] == rfc3339(END)


def test_a_token_ends_with_its_build(scene: Scene, clock: Clock) -> None:
    _build_expires(scene)
    clock.now = END - 100
    body = answer(scene.ask())
    assert body["expires_at"] == rfc3339(END)
    for early, code in ((1, "VALID"), (0, "TOKEN_EXPIRED")):
        clock.now = END - early
        assert code_of(scene.api.validate(body["token"], plugin="api-logger")) == code


def test_refreshing_does_not_outlive_a_build(scene: Scene, clock: Clock) -> None:
    _build_expires(scene)
    clock.now = END - 10
    token = answer(scene.ask())["token"]
    clock.now = END - 1
    refreshed = answer(scene.api.refresh(token))
    assert refreshed["expires_at"] == rfc3339(END)
    clock.now = END
    assert code_of(scene.api.refresh(refreshed["token"])) == "TOKEN_EXPIRED"


def test_a_build_that_is_ended_early_refreshes_no_more(scene: Scene, clock: Clock) -> None:
    token = answer(scene.ask())["token"]
    BuildCredential.objects.filter(pk=scene.member.build.id).update(expires_at=from_epoch(T0 + 10))
    clock.now = T0 + 9
    assert scene.api.refresh(token).status_code == 200
    clock.now = T0 + 10
    response = scene.api.refresh(token)
    assert (response.status_code, code_of(response)) == (403, "BUILD_EXPIRED")


def test_a_token_lives_fifteen_minutes(scene: Scene, clock: Clock) -> None:
    body = answer(scene.ask())
    assert body["expires_at"] == rfc3339(T0 + 900)
    for now, code in ((T0 + 899, "VALID"), (T0 + 899.999, "VALID"), (T0 + 900, "TOKEN_EXPIRED")):
        clock.now = now
        assert code_of(scene.api.validate(body["token"], plugin="api-logger")) == code
        assert code_of(scene.api.refresh(body["token"])) == code


@pytest.mark.parametrize(("behind", "code"), [(5, "VALID"), (6, "TOKEN_INVALID")])
def test_a_clock_five_seconds_behind_the_minter_is_forgiven(scene: Scene, clock: Clock, behind: int, code: str) -> None:
    token = answer(scene.ask())["token"]
    clock.now = T0 - behind
    assert code_of(scene.api.validate(token, plugin="api-logger")) == code


def test_a_temporary_grant_holds_from_its_start_until_before_its_end(scene: Scene, clock: Clock) -> None:
    Plugin.objects.get(pk="api-logger").features.add("advanced_analytics")
    grant_temporarily(
        customer=scene.member.customer,
        feature=Feature.objects.get(pk="advanced_analytics"),
        value=True,
        starts_at=from_epoch(END),
        ends_at=from_epoch(END + 100),
        actor=ACTOR,
    )
    for now, is_granted in ((END - 1, False), (END, True), (END + 99, True), (END + 100, False)):
        clock.now = now
        assert ("advanced_analytics" in answer(scene.ask())["authorized_features"]) is is_granted, now


def test_reauthentication_is_due_after_exactly_a_day(scene: Scene, clock: Clock) -> None:
    token = answer(scene.ask())["token"]
    while clock.now < T0 + DAY - 300:
        clock.now = min(clock.now + 890, T0 + DAY - 300)
        token = answer(scene.api.refresh(token))["token"]
    clock.now = T0 + DAY - 1
    assert scene.api.refresh(token).status_code == 200
    clock.now = T0 + DAY
    response = scene.api.refresh(token)
    assert (response.status_code, code_of(response)) == (401, "REAUTHENTICATION_DUE")
    assert code_of(scene.api.validate(token, plugin="api-logger")) == "VALID"
    assert scene.ask().status_code == 200


def test_a_place_is_free_again_the_instant_a_released_lease_ends(scene: Scene, clock: Clock) -> None:
    subscribe(scene.member.customer, installation_limit=1)
    make_installation(
        scene.member.customer, "gone", released_at=from_epoch(T0), lease_until=from_epoch(END), plugin_id="api-logger"
    )
    clock.now = END - 1
    assert code_of(scene.ask()) == "INSTALLATION_LIMIT_REACHED"
    clock.now = END
    assert scene.ask().status_code == 200
    assert Installation.objects.filter(released_at=None).count() == 1


def test_a_lease_ends_with_the_policy_the_period_or_the_build_whichever_is_first(scene: Scene, clock: Clock) -> None:
    def lease_end() -> int:
        return int(claims(answer(scene.ask())["offline_lease"])["exp"])

    assert lease_end() == T0 + 72 * 3600
    subscribe(scene.member.customer, status="canceled", period_end=T0 + 5000)
    assert lease_end() == T0 + 5000
    _build_expires(scene)
    assert lease_end() == END
    Plugin.objects.filter(pk="api-logger").update(lease_seconds=60)
    assert lease_end() == T0 + 60
    Plugin.objects.filter(pk="api-logger").update(lease_seconds=0)
    assert answer(scene.ask())["offline_lease"] is None
