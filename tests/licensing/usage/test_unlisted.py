"""Events of features that a plugin does not list: counted, and under one name, so that nobody can make up rows."""

import pytest

from licensing.models import Plugin, UsageDay
from licensing.services.counts import flush_usage
from tests.licensing.api.driver import PluginApi, answer
from tests.licensing.cast import Cast

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_valkey")]


def measures() -> dict[str, int]:
    flush_usage()
    return {row.measure: row.count for row in UsageDay.objects.all() if row.measure.startswith("event:")}


def report(api: PluginApi, cast: Cast, *features: str) -> dict[str, object]:
    events = [{"feature": feature, "count": 2} for feature in features]
    body = {"batch_id": f"batch-{len(features):04}", "events": events}
    return answer(api.post("usage", body, credential=api.token(cast.acme)))


def test_they_count_as_one(api: PluginApi, cast: Cast) -> None:
    made_up = [f"made_up_{number}" for number in range(300)]
    assert report(api, cast, "console_logging", "batch_processing", *made_up)["used"] == 604
    assert measures() == {"event:console_logging": 2, "event:_other": 602}


def test_a_plugin_that_lists_none_may_report_any_of_the_catalogues(api: PluginApi, cast: Cast) -> None:
    Plugin.objects.get(pk="console-logger").features.clear()
    report(api, cast, "batch_processing", "made_up")
    assert measures() == {"event:batch_processing": 2, "event:_other": 2}
