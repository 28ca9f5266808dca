"""Preparing: what goes into a build, for which key, and that nothing of it lies open longer than it must."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.build_farm.services.conftest import fresh, now

if TYPE_CHECKING:
    from tests.build_farm.services.conftest import Farm


def test_the_constants_are_the_customers_and_open_with_its_key(farm: Farm) -> None:
    from accounts.keyrings import ring
    from build_farm.services.prepare_build import slot_identity
    from licensing.crypto import keys
    from licensing.crypto.build_slot import open_secret
    from licensing.services.proofs import build_secret_identity

    build = farm.prepare(farm.ask())
    constants = build.constants
    assert constants is not None
    assert (constants["customer_id"], constants["target_tier"]) == ("cust_123", "Pro")
    assert constants["authorized_features"] == ["console_logging", "api_logging", "batch_processing"]
    assert constants["build_timestamp"] == str(int(build.build_time.timestamp()))
    assert constants["issuer"] == constants["server_url"] == "http://testserver"
    key = farm.cast.acme.key
    assert constants["api_key_hash"] == f"sha256:{keys.fingerprint(key).hex()}"
    secret = open_secret(keys.key_root(key), constants["secret_key"], slot_identity(build))
    assert secret == ring("builds").unseal(bytes(build.sealed_secret), identity=build_secret_identity(build.pk))
    written = json.dumps(constants)
    assert key not in written
    assert secret.hex() not in written


def test_the_record_has_the_same_constants_and_only_sealed_once_it_is_over(farm: Farm) -> None:
    from build_farm.services.prepare_build import as_constants, recorded_constants

    build = farm.prepare(farm.ask())
    was = as_constants(build.constants)
    published = farm.publish(build)
    assert published.constants is None
    assert recorded_constants(published) == was


def test_no_two_builds_share_a_secret(farm: Farm) -> None:
    from accounts.keyrings import ring
    from licensing.services.proofs import build_secret_identity

    builds = [farm.prepare(farm.ask(target=target)) for target in ("linux/amd64", "linux/arm64")]
    secrets = {
        ring("builds").unseal(bytes(build.sealed_secret), identity=build_secret_identity(build.pk)) for build in builds
    }
    assert len(secrets) == 2


def test_the_key_that_was_named_is_taken_else_the_oldest_live_one(farm: Farm) -> None:
    from accounts.services.api_keys import revoke_api_key
    from tests.licensing.cast import ACTOR, make_key

    newer, test = make_key(farm.customer), make_key(farm.customer, mode="test")
    assert farm.prepare(farm.ask()).api_key_id == farm.cast.acme.api_key.pk
    named = farm.ask(target="linux/arm64", api_key=test.api_key)
    assert farm.prepare(named).api_key_id == test.api_key.pk
    revoke_api_key(api_key=farm.cast.acme.api_key, actor=ACTOR, now=now())
    assert farm.prepare(farm.ask(target="darwin/arm64")).api_key_id == newer.api_key.pk


@pytest.mark.parametrize("lacking", ["key", "subscription"])
def test_without_key_or_subscription_it_fails_and_says_so(farm: Farm, lacking: str) -> None:
    from accounts.models import ApiKey
    from build_farm.services.prepare_build import prepare_build
    from licensing.models import Subscription

    if lacking == "key":
        ApiKey.objects.filter(customer=farm.customer).update(revoked_at=now())
    else:
        Subscription.objects.filter(customer=farm.customer).delete()
    build = farm.ask()
    assert not prepare_build(build_id=build.pk, now=now())
    assert fresh(build).state == "failed"
    assert lacking in fresh(build).failure


def test_it_is_prepared_once(farm: Farm) -> None:
    from build_farm.services.prepare_build import prepare_build

    build = farm.prepare(farm.ask())
    assert not prepare_build(build_id=build.pk, now=now())
    assert fresh(build).constants == build.constants


def test_every_sealed_column_is_declared(farm: Farm) -> None:
    from accounts.sealed_columns import declared_columns
    from build_farm.models import Build

    build = farm.prepare(farm.ask())
    ours = {column.column: column for column in declared_columns("builds") if column.model is Build}
    assert set(ours) == {field.name for field in Build._meta.fields if field.name.startswith("sealed_")}
    from accounts.keyrings import ring

    for name, column in ours.items():
        assert ring("builds").unseal(bytes(getattr(build, name)), identity=column.identity(build.pk))
