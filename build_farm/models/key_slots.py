"""Key slots: one build's secret, sealed once for each API key of its customer (DESIGN §8)."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from build_farm.models.build import Build


class KeySlotFile(models.Model):
    """The key-slot file of a build. `control` writes the slots; what is handed out is what `sign` has signed."""

    build = models.OneToOneField(Build, on_delete=models.CASCADE, primary_key=True, related_name="key_slot_file")
    version = models.PositiveIntegerField(help_text="One more with each change of the slots.")
    key_ids = ArrayField(models.CharField(max_length=40), help_text="The API keys that have a slot, sorted.")
    slots = models.JSONField(help_text="[{key_hash, secret}], sealed for each key.")
    signed_version = models.PositiveIntegerField(default=0)
    jws = models.TextField(blank=True, help_text="The signed text; empty until the first was signed.")
    issued_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "key_slot_file"
        indexes: ClassVar = [
            models.Index(
                fields=["build"],
                name="key_slot_file_unsigned",
                condition=models.Q(signed_version__lt=models.F("version")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.build_id} version {self.version}"

    @property
    def is_signed(self) -> bool:
        """Whether the text that is handed out holds the newest slots."""
        return self.signed_version == self.version
