"""Asking for builds: once is enough, however often and by however many it is asked; cancelling; mass rebuilds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.build_farm.services.conftest import HOST, fresh, now

if TYPE_CHECKING:
    from tests.build_farm.services.conftest import Farm


def test_asked_again_it_is_the_same_build(farm: Farm) -> None:
    build = farm.ask()
    assert (build.state, build.priority) == ("queued", "interactive")
    assert farm.ask().pk == build.pk
    farm.prepare(build)
    assert farm.ask().pk == build.pk
    assert farm.ask(target="linux/arm64").pk != build.pk
    assert farm.ask(farm.cast.globex.customer).pk != build.pk


def test_a_published_build_is_not_made_again_unless_that_is_asked(farm: Farm) -> None:
    build = farm.publish(farm.ask())
    assert farm.ask().pk == build.pk
    again = farm.ask(again=True)
    assert again.pk != build.pk
    assert fresh(build).state == "published"
    farm.publish(again)
    assert fresh(build).state == "superseded"
    assert fresh(build).superseded_by_id == again.pk
    assert farm.ask().pk == again.pk


def test_asked_again_while_it_is_made_with_old_inputs_the_old_one_is_superseded(farm: Farm) -> None:
    build = farm.ask()
    assert farm.ask(again=True).pk == build.pk, "nothing was prepared yet: its inputs will be new anyway"
    staged = farm.stage(build)
    again = farm.ask(again=True)
    assert again.pk != build.pk
    assert fresh(build).state == "superseded"
    assert fresh(build).constants is None
    assert not farm.sign(), "what was compiled for the superseded one is signed by nobody"
    assert staged.binary_sha256


def test_what_cannot_be_built_is_refused(farm: Farm) -> None:
    from build_farm.errors import NotBuildable
    from licensing.core.errors import InvalidValue
    from registry.models import Release

    with pytest.raises(InvalidValue, match="target"):
        farm.ask(target="plan9/amd64")
    with pytest.raises(InvalidValue, match="api_key_id"):
        farm.ask(api_key=farm.cast.globex.api_key)
    Release.objects.filter(pk=farm.release.pk).update(state="draft", published_at=None)
    farm.release.refresh_from_db()
    try:
        with pytest.raises(NotBuildable):
            farm.ask()
    finally:
        farm.release.state, farm.release.published_at = "published", now()


def test_cancelling_stops_it_in_every_live_state_and_only_there(farm: Farm) -> None:
    from build_farm.errors import BuildOver
    from build_farm.services.request_build import cancel_build
    from tests.licensing.cast import ACTOR

    for bring in (lambda build: build, farm.prepare, farm.stage):
        build = bring(farm.ask())
        cancelled = cancel_build(build=build, actor=ACTOR, now=now())
        assert (cancelled.state, cancelled.constants) == ("cancelled", None)
        assert cancel_build(build=build, actor=ACTOR, now=now()).state == "cancelled"
        assert not farm.sign()
    published = farm.publish(farm.ask())
    with pytest.raises(BuildOver, match="published"):
        cancel_build(build=published, actor=ACTOR, now=now())


def test_somebody_who_waits_hurries_a_mass_rebuild_along(farm: Farm) -> None:
    from build_farm.models import Build
    from build_farm.services.request_build import rebuild_for_customer
    from tests.licensing.cast import ACTOR

    farm.publish(farm.ask())
    made = rebuild_for_customer(customer=farm.customer, actor=ACTOR)
    assert (made.queued, made.joined) == (1, 0)
    build = Build.objects.get(batch=made.batch)
    assert build.priority == "mass"
    assert farm.ask().pk == build.pk
    assert fresh(build).priority == "interactive"


def test_a_release_is_rebuilt_for_everyone_who_has_the_plugin(farm: Farm) -> None:
    from build_farm import selectors
    from build_farm.models import Build
    from build_farm.services.request_build import rebuild_for_release
    from tests.licensing.cast import ACTOR

    farm.publish(farm.ask())
    farm.publish(farm.ask(farm.cast.globex.customer))
    under_way = farm.ask(farm.cast.globex.customer, again=True)
    made = rebuild_for_release(release=farm.release, actor=ACTOR)
    assert (made.queued, made.joined) == (1, 1)
    assert fresh(under_way).state == "queued"
    found = selectors.progress(made.batch, now=now())
    assert (found.total, found.by_state) == (1, {"queued": 1})
    assert found.seconds_left is not None
    assert found.seconds_left > 0
    farm.publish(Build.objects.get(batch=made.batch))
    assert selectors.progress(made.batch, now=now()).seconds_left is None


def test_a_download_that_finds_no_build_asks_for_one_and_hears_how_it_goes(farm: Farm) -> None:
    from build_farm.models import Build
    from build_farm.services.queue import claim_build
    from licensing.core import outbox
    from registry.models import RequestedBuild
    from registry.services.requested_builds import request_build
    from tests.licensing.cast import ACTOR

    waiting = request_build(release=farm.release, customer_id=farm.customer.pk, target=HOST, actor=ACTOR)
    outbox.dispatch_pending(now=now())
    build = Build.objects.get()
    assert (build.customer_id, build.target, build.priority) == (farm.customer.pk, HOST, "interactive")
    farm.prepare(build)
    assert claim_build(worker="w", now=now()) is not None
    waiting.refresh_from_db()
    assert waiting.status == RequestedBuild.Status.BUILDING
    Build.objects.update(state="queued", lease_owner="", lease_until=None)
    farm.publish(fresh(build))
    waiting.refresh_from_db()
    assert waiting.status == RequestedBuild.Status.READY
