"""`/api/manage/features/` and `/api/manage/tiers/`: what the vendor sells."""

from typing import ClassVar

from accounts.api.views import ManageView
from licensing import scoped_reads
from licensing.api.shapes import (
    FeatureAsked,
    FeatureChanges,
    FeatureShown,
    TierAsked,
    TierChanges,
    TierShown,
)
from licensing.core.api.operations import Answer, Call, created, done, operation, shown
from licensing.core.api.pages import page_of
from licensing.core.api.shapes import ListQuery, given
from licensing.models import Feature
from licensing.models.catalogue import FEATURE_CODE_PATTERN, TIER_NAME_PATTERN
from licensing.services.features import create_feature, remove_feature, update_feature
from licensing.services.tiers import create_tier, remove_tier, update_tier


class Features(ManageView):
    """All features."""

    @operation("List features", action="manage.catalogue.read", answer=FeatureShown, query=ListQuery, is_list=True)
    def get(self, call: Call) -> Answer:
        """By code."""
        return Answer(page_of(call.request, Feature.objects.all(), call.query, order=("code",), show=FeatureShown.of))

    @operation(
        "Create a feature",
        action="manage.catalogue.write",
        asked=FeatureAsked,
        answer=FeatureShown,
        status=201,
    )
    def post(self, call: Call, asked: FeatureAsked) -> Answer:
        """Make a feature, with the type of the values it can be granted with."""
        row = create_feature(
            code=asked.code,
            name=asked.name,
            description=asked.description,
            value_type=asked.value_type,
            actor=call.actor,
        )
        return created(FeatureShown.of(scoped_reads.feature(row.code)), f"/api/manage/features/{row.code}")


class OneFeature(ManageView):
    """One feature."""

    path_patterns: ClassVar = {"code": FEATURE_CODE_PATTERN}

    @operation("Get a feature", action="manage.catalogue.read", answer=FeatureShown)
    def get(self, call: Call, code: str) -> Answer:
        """Show it."""
        return shown(FeatureShown.of(scoped_reads.feature(code)))

    @operation(
        "Change a feature",
        action="manage.catalogue.write",
        asked=FeatureChanges,
        answer=FeatureShown,
        is_conditional=True,
    )
    def patch(self, call: Call, asked: FeatureChanges, code: str) -> Answer:
        """The type of a feature that is granted somewhere cannot change."""
        row = scoped_reads.feature(code, lock=True)
        call.check_precondition(FeatureShown.of(row))
        return shown(FeatureShown.of(update_feature(feature=row, changes=given(asked), actor=call.actor)))

    @operation("Remove a feature", action="manage.catalogue.write", status=204, is_conditional=True)
    def delete(self, call: Call, code: str) -> Answer:
        """Only one that nothing uses."""
        row = scoped_reads.feature(code, lock=True)
        call.check_precondition(FeatureShown.of(row))
        remove_feature(feature=row, actor=call.actor)
        return done()


class Tiers(ManageView):
    """All tiers."""

    @operation("List tiers", action="manage.catalogue.read", answer=TierShown, query=ListQuery, is_list=True)
    def get(self, call: Call) -> Answer:
        """By rank, lowest first."""
        return Answer(page_of(call.request, scoped_reads.tiers(), call.query, order=("rank",), show=TierShown.of))

    @operation("Create a tier", action="manage.catalogue.write", asked=TierAsked, answer=TierShown, status=201)
    def post(self, call: Call, asked: TierAsked) -> Answer:
        """Make a tier, with the features that it grants: code → value."""
        row = create_tier(name=asked.name, settings=given(asked), features=asked.features, actor=call.actor)
        return created(TierShown.of(scoped_reads.tier(row.name)), f"/api/manage/tiers/{row.name.replace(' ', '%20')}")


class OneTier(ManageView):
    """One tier."""

    path_patterns: ClassVar = {"name": TIER_NAME_PATTERN}

    @operation("Get a tier", action="manage.catalogue.read", answer=TierShown)
    def get(self, call: Call, name: str) -> Answer:
        """Show it."""
        return shown(TierShown.of(scoped_reads.tier(name)))

    @operation(
        "Change a tier",
        action="manage.catalogue.write",
        asked=TierChanges,
        answer=TierShown,
        is_conditional=True,
    )
    def patch(self, call: Call, asked: TierChanges, name: str) -> Answer:
        """What it grants is in force for all who have it, within a second."""
        row = scoped_reads.tier(name, lock=True)
        call.check_precondition(TierShown.of(row))
        changes = given(asked)
        update_tier(tier=row, features=changes.pop("features", None), changes=changes, actor=call.actor)
        return shown(TierShown.of(scoped_reads.tier(name)))

    @operation("Remove a tier", action="manage.catalogue.write", status=204, is_conditional=True)
    def delete(self, call: Call, name: str) -> Answer:
        """Only one that nobody has and no plugin requires."""
        row = scoped_reads.tier(name, lock=True)
        call.check_precondition(TierShown.of(row))
        remove_tier(tier=row, actor=call.actor)
        return done()
