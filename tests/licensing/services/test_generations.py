"""Generations are forgotten once no token can carry them: who comes and goes must not slow every decision for ever."""

import threading

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from licensing.core.clock import from_epoch
from licensing.models import Generation, Installation
from licensing.services.generations import forget_generations
from licensing.services.installations import release_installation
from tests.licensing.api.driver import PluginApi, code_of
from tests.licensing.cast import ACTOR, T0, Cast, make_installation, sign_out
from tests.licensing.conftest import Clock

HOUR = 3600


def released(cast: Cast, fingerprint: str, *, at: float) -> Installation:
    row = make_installation(cast.acme.customer, fingerprint, plugin_id="console-logger")
    return release_installation(installation=row, reason="test", confirmed=True, actor=ACTOR, now=from_epoch(at))


def kept() -> set[str]:
    return set(Generation.objects.values_list("subject_id", flat=True))


@pytest.mark.django_db
def test_only_those_of_installations_released_before_any_living_token(cast: Cast, settings: Settings) -> None:
    settings.TOKEN_TTL_SECONDS = 900
    old, edge = released(cast, "old", at=T0 - HOUR - 901), released(cast, "edge", at=T0 - HOUR - 900)
    back = released(cast, "back", at=T0 - 10 * HOUR)
    Installation.objects.filter(pk=back.pk).update(released_at=None)
    sign_out(cast.acme.customer, "customer", cast.acme.id)
    sign_out(cast.globex.customer, "key", cast.globex.api_key.pk)
    assert forget_generations(now=from_epoch(T0)) == 1
    assert kept() == {edge.id, back.id, cast.acme.id, cast.globex.api_key.pk}
    assert forget_generations(now=from_epoch(T0)) == 0
    assert old.id not in kept()


@pytest.mark.django_db
def test_more_than_a_statement_takes(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("licensing.services.generations._AT_ONCE", 2)
    for number in range(5):
        released(cast, f"machine-{number}", at=T0 - 10 * HOUR)
    assert forget_generations(now=from_epoch(T0)) == 5


@pytest.mark.django_db
def test_the_old_token_stays_refused_and_whoever_comes_back_is_served(api: PluginApi, cast: Cast, clock: Clock) -> None:
    before = api.token(cast.acme)
    row = Installation.objects.get(fingerprint="machine-0001")
    release_installation(installation=row, reason="test", confirmed=True, actor=ACTOR, now=from_epoch(T0))
    assert code_of(api.validate(before)) == "TOKEN_REVOKED"
    clock.now = T0 + 3 * HOUR
    assert forget_generations(now=from_epoch(clock.now)) == 1
    assert code_of(api.validate(before)) == "TOKEN_EXPIRED"
    after = api.token(cast.acme)
    assert code_of(api.validate(after)) == "VALID"
    assert api.refresh(after).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_one_that_takes_its_place_again_meanwhile_is_left_alone(fresh_cast: Cast) -> None:
    row = released(fresh_cast, "machine-0001", at=T0 - 10 * HOUR)
    forgotten: list[int] = []

    def forget() -> None:
        try:
            forgotten.append(forget_generations(now=from_epoch(T0)))
        finally:
            connection.close()

    with transaction.atomic():
        Installation.objects.filter(pk=row.pk).update(released_at=None)
        other = threading.Thread(target=forget)
        other.start()
        other.join(30)
    assert forgotten == [0]
    assert kept() == {row.id}
