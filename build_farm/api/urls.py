"""The routes of `build_farm`. They come before the registry's, whose release list they extend."""

from build_farm.api import builds, key_slots
from build_farm.api import manage_builds as manage
from licensing.core.api.routes import route

urlpatterns = [
    route("api/builds/", builds.Builds.as_view(), "builds"),
    route("api/builds/<build_id>", builds.OneBuild.as_view(), "build"),
    route("api/builds/<build_id>/cancel", builds.BuildCancellation.as_view(), "build-cancel"),
    route("api/registry/builds/<build_id>/keys", key_slots.BuildKeySlots.as_view(), "build-key-slots"),
    route("api/manage/builds/", manage.ManagedBuilds.as_view(), "manage-builds"),
    route("api/manage/builds/rebuild", manage.MassRebuilds.as_view(), "manage-rebuild"),
    route("api/manage/builds/batches/<batch>", manage.MassRebuildProgress.as_view(), "manage-rebuild-progress"),
    route("api/manage/builds/<build_id>", manage.ManagedBuild.as_view(), "manage-build"),
    route("api/manage/builds/<build_id>/cancel", manage.ManagedBuildCancellation.as_view(), "manage-build-cancel"),
    route("api/manage/plugins/<plugin>/releases/", manage.SourceReleases.as_view(), "manage-releases"),
]
