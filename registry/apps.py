from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "registry"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Hear of what is to be signed."""
        from licensing.core import outbox
        from registry.tasks import hurry_signing

        outbox.subscribe("policy.changed", hurry_signing)
        outbox.subscribe("artifact.added", hurry_signing)
