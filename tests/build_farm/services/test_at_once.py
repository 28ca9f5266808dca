"""Several at once, each with a connection of its own: one build, one worker, one artifact.

In a module of their own: these tests commit, and the other modules' farm is committed for as long as those run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.build_farm.services.conftest import now

if TYPE_CHECKING:
    from tests.build_farm.services.conftest import Farm

TARGETS = ["linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"]


@pytest.mark.django_db(transaction=True)
def test_asked_by_many_at_once_it_is_one_build(real_farm: Farm, at_once: Callable[..., list[Any]]) -> None:
    from build_farm.models import Build

    asked = at_once(lambda _: real_farm.ask().pk, list(range(6)))
    assert len(set(asked)) == 1
    assert Build.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_workers_at_once_take_each_build_once(real_farm: Farm, at_once: Callable[..., list[Any]]) -> None:
    from build_farm.services.queue import claim_build

    for target in TARGETS:
        real_farm.prepare(real_farm.ask(target=target))
    claimed = at_once(lambda name: claim_build(worker=name, now=now()), [f"w{number}" for number in range(8)])
    taken = [build.pk for build in claimed if build is not None]
    assert len(taken) == len(set(taken)) == 4
    assert {build.attempt for build in claimed if build is not None} == {1}


@pytest.mark.django_db(transaction=True)
def test_signers_at_once_publish_once(real_farm: Farm, at_once: Callable[..., list[Any]]) -> None:
    from licensing.models import BuildCredential
    from registry.models import Artifact

    build = real_farm.stage(real_farm.ask())
    assert sorted(at_once(lambda _: real_farm.sign(), [1, 2, 3])) == [False, False, True]
    assert Artifact.objects.filter(build_id=build.pk).count() == 1
    assert BuildCredential.objects.filter(pk=build.pk).count() == 1
