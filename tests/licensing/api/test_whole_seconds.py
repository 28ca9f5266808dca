"""Ends that lie between two seconds: no token or lease, which know whole seconds alone, says more than was paid for."""

from collections.abc import Callable

import pytest

from licensing.core.clock import from_epoch, rfc3339
from licensing.models import BuildCredential, Plugin
from licensing.rules.snapshot import Subscription
from licensing.rules.subscription import standing
from tests.licensing.api.conditions import Scene
from tests.licensing.api.driver import PluginApi, answer, claims, code_of
from tests.licensing.cast import DAY, T0, Cast, subscribe
from tests.licensing.conftest import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_valkey")]

END = T0 + 1000


@pytest.fixture
def scene(api: PluginApi, cast: Cast) -> Scene:
    return Scene(api, cast, cast.acme)


def _canceled(scene: Scene, end: float) -> None:
    subscribe(scene.member.customer, status="canceled", period_end=end)


def _in_grace(scene: Scene, end: float) -> None:
    subscribe(scene.member.customer, status="past_due", period_end=T0 - DAY, grace_until=end)


def _week_of_grace(scene: Scene, end: float) -> None:
    subscribe(scene.member.customer, status="active", period_end=end - 7 * DAY)


def _build(scene: Scene, end: float) -> None:
    BuildCredential.objects.filter(pk=scene.member.build.id).update(expires_at=from_epoch(end))


ENDS: dict[str, tuple[Callable[[Scene, float], None], str]] = {
    "the paid period": (_canceled, "SUBSCRIPTION_EXPIRED"),
    "a grace": (_in_grace, "SUBSCRIPTION_EXPIRED"),
    "the usual grace": (_week_of_grace, "SUBSCRIPTION_EXPIRED"),
    "a build": (_build, "BUILD_EXPIRED"),
}
FRACTIONS = [0.000001, 0.25, 0.999999]


@pytest.mark.parametrize("fraction", [0.0, *FRACTIONS])
@pytest.mark.parametrize("name", ENDS)
def test_token_and_lease_end_with_the_second_before(scene: Scene, clock: Clock, name: str, fraction: float) -> None:
    arrange, code = ENDS[name]
    arrange(scene, END + fraction)
    for early in (300, 1, 0.5, 0.000001):
        clock.now = END - early
        body = answer(scene.ask())
        assert claims(body["token"])["exp"] == END
        assert claims(body["offline_lease"])["exp"] == claims(body["offline_lease"])["offline_until"] == END
        assert body["expires_at"] == rfc3339(END)
        assert body["next_refresh"] <= body["expires_at"]
    for late in (0, fraction / 2, fraction, 1):
        clock.now = END + late
        assert code_of(scene.ask()) == code


@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("name", ENDS)
def test_refreshing_ends_there_too(scene: Scene, clock: Clock, name: str, fraction: float) -> None:
    arrange, _ = ENDS[name]
    arrange(scene, END + fraction)
    clock.now = END - 5
    token = answer(scene.ask())["token"]
    clock.now = END - 0.25
    refreshed = answer(scene.api.refresh(token))
    assert claims(refreshed["token"])["exp"] == END
    clock.now = END + fraction / 2
    assert code_of(scene.api.refresh(refreshed["token"])) == "TOKEN_EXPIRED"


def test_no_feature_of_a_lease_outlasts_it(scene: Scene, clock: Clock) -> None:
    _canceled(scene, END + 0.75)
    lease = claims(answer(scene.ask())["offline_lease"])
    assert lease["features"]
    assert set(lease["features"].values()) == {END}


@pytest.mark.parametrize("before_the_end", [299, 30, 1])
def test_validate_asks_nobody_back_after_the_token(scene: Scene, clock: Clock, before_the_end: int) -> None:
    token = answer(scene.ask())["token"]
    exp = int(claims(token)["exp"])
    clock.now = exp - before_the_end
    seen = {answer(scene.api.validate(token, plugin="api-logger"))["next_refresh"] for _ in range(20)}
    assert max(seen) <= rfc3339(exp)
    assert min(seen) > rfc3339(clock.now - 1)


def test_early_in_a_tokens_life_validate_jitters(scene: Scene, clock: Clock) -> None:
    token = answer(scene.ask())["token"]
    seen = {answer(scene.api.validate(token, plugin="api-logger"))["next_refresh"] for _ in range(25)}
    assert len(seen) > 1
    assert rfc3339(T0 + 270) <= min(seen) <= max(seen) <= rfc3339(T0 + 330)


def test_a_lease_shorter_than_a_second_is_none(scene: Scene, clock: Clock) -> None:
    Plugin.objects.filter(pk="api-logger").update(lease_seconds=1)
    clock.now = T0 + 0.5
    assert claims(answer(scene.ask())["offline_lease"])["exp"] == T0 + 1


@pytest.mark.parametrize("status", ["trialing", "canceled", "active", "past_due"])
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_the_rule_itself_rounds_down(status: str, fraction: float) -> None:
    row = Subscription("Pro", status, END + fraction, END + fraction, None)
    assert standing(row, END - 0.000001).access_until == END
    assert standing(row, END).code == "SUBSCRIPTION_EXPIRED"
