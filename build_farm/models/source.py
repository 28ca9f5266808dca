"""What is known of a release's source archive: read once at upload, never asked of the archive again."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from registry.models import Release


class SourceArchive(models.Model):
    """The checked source of one release. The archive's bytes are the release's `source` in the artifact store."""

    release = models.OneToOneField(Release, on_delete=models.CASCADE, primary_key=True, related_name="source_archive")
    module_path = models.CharField(max_length=512)
    package = models.CharField(max_length=512)
    features = ArrayField(models.CharField(max_length=63), default=list)
    tier = models.CharField(max_length=64, blank=True, help_text="What keywright.toml names; for the reader alone.")
    permissions = models.JSONField(default=list, help_text="Canonical, as in the plugin's manifest.")
    resources = models.JSONField(default=dict)
    capabilities = models.JSONField(default=dict, help_text="Capability → places in the source that show it.")
    undeclared = ArrayField(
        models.CharField(max_length=16), default=list, help_text="Capabilities that keywright.toml does not declare."
    )
    uploaded_by = models.CharField(max_length=80)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "source_archive"
        constraints: ClassVar = []

    def __str__(self) -> str:
        return self.release_id
