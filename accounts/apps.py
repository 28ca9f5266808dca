from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Hear of the events that mails answer."""
        from accounts.tasks import on_invited
        from licensing.core import outbox

        outbox.subscribe("member.invited", on_invited)
