"""`/api/manage/plugins/`: the licensable programs, and the permission manifests of their versions."""

from typing import ClassVar

from accounts.api.views import ManageView
from licensing import scoped_reads
from licensing.api.shapes import ManifestAsked, ManifestShown, PluginAsked, PluginChanges, PluginShown
from licensing.core.api.operations import Answer, Call, created, done, operation, shown
from licensing.core.api.pages import page_of
from licensing.core.api.shapes import ListQuery, given
from licensing.models import PLUGIN_NAME_PATTERN, PluginManifest
from licensing.services.plugins import create_plugin, remove_manifest, remove_plugin, set_manifest, update_plugin

_PATTERNS = {"plugin": PLUGIN_NAME_PATTERN}


class Plugins(ManageView):
    """All plugins."""

    @operation("List plugins", action="manage.catalogue.read", answer=PluginShown, query=ListQuery, is_list=True)
    def get(self, call: Call) -> Answer:
        """By name, private ones included."""
        return Answer(page_of(call.request, scoped_reads.plugins(), call.query, order=("name",), show=PluginShown.of))

    @operation("Create a plugin", action="manage.catalogue.write", asked=PluginAsked, answer=PluginShown, status=201)
    def post(self, call: Call, asked: PluginAsked) -> Answer:
        """A private plugin exists only for its `allowed_customers`."""
        row = create_plugin(name=asked.name, settings=given(asked), actor=call.actor)
        return created(PluginShown.of(scoped_reads.plugin(row.name)), f"/api/manage/plugins/{row.name}")


class OnePlugin(ManageView):
    """One plugin."""

    path_patterns: ClassVar = _PATTERNS

    @operation("Get a plugin", action="manage.catalogue.read", answer=PluginShown)
    def get(self, call: Call, plugin: str) -> Answer:
        """Show it."""
        return shown(PluginShown.of(scoped_reads.plugin(plugin)))

    @operation(
        "Change a plugin",
        action="manage.catalogue.write",
        asked=PluginChanges,
        answer=PluginShown,
        is_conditional=True,
    )
    def patch(self, call: Call, asked: PluginChanges, plugin: str) -> Answer:
        """Change the members that are given; lists become exactly what is given."""
        row = scoped_reads.plugin(plugin, lock=True)
        call.check_precondition(PluginShown.of(row))
        update_plugin(plugin=row, changes=given(asked), actor=call.actor)
        return shown(PluginShown.of(scoped_reads.plugin(plugin)))

    @operation("Remove a plugin", action="manage.catalogue.write", status=204, is_conditional=True)
    def delete(self, call: Call, plugin: str) -> Answer:
        """Only one that was never installed nor built; quarantine the others."""
        row = scoped_reads.plugin(plugin, lock=True)
        call.check_precondition(PluginShown.of(row))
        remove_plugin(plugin=row, actor=call.actor)
        return done()


class Manifests(ManageView):
    """The permission manifests of a plugin's versions."""

    path_patterns: ClassVar = _PATTERNS

    @operation(
        "List a plugin's permission manifests",
        action="manage.catalogue.read",
        answer=ManifestShown,
        query=ListQuery,
        is_list=True,
    )
    def get(self, call: Call, plugin: str) -> Answer:
        """In the order they were first set."""
        rows = PluginManifest.objects.filter(plugin=scoped_reads.plugin(plugin))
        return Answer(page_of(call.request, rows, call.query, order=("id",), show=ManifestShown.of))


class OneManifest(ManageView):
    """The permission manifest of one version."""

    path_patterns: ClassVar = _PATTERNS

    @operation("Get a permission manifest", action="manage.catalogue.read", answer=ManifestShown)
    def get(self, call: Call, plugin: str, version: str) -> Answer:
        """In its canonical form."""
        return shown(ManifestShown.of(scoped_reads.manifest(plugin, version)))

    @operation(
        "Set a permission manifest",
        action="manage.catalogue.write",
        asked=ManifestAsked,
        answers={200: ManifestShown, 201: ManifestShown},
        is_conditional=True,
    )
    def put(self, call: Call, asked: ManifestAsked, plugin: str, version: str) -> Answer:
        """Take it in any written form; it is in the tokens of this version within a second, in short form."""
        owner = scoped_reads.plugin(plugin, lock=True)
        before = PluginManifest.objects.filter(plugin=owner, version=version).first()
        call.check_precondition(ManifestShown.of(before) if before else None)
        set_manifest(plugin=owner, version=version, manifest=given(asked), actor=call.actor)
        body = ManifestShown.of(scoped_reads.manifest(plugin, version))
        return shown(body) if before else created(body, f"/api/manage/plugins/{plugin}/manifests/{version}")

    @operation("Remove a permission manifest", action="manage.catalogue.write", status=204, is_conditional=True)
    def delete(self, call: Call, plugin: str, version: str) -> Answer:
        """Tokens of this version then show no permissions."""
        row = scoped_reads.manifest(plugin, version, lock=True)
        call.check_precondition(ManifestShown.of(row))
        remove_manifest(manifest=row, actor=call.actor)
        return done()
