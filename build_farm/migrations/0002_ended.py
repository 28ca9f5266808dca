"""What ended last, by state: the operator's page asks for it every few seconds."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("build_farm", "0001_builds")]

    operations = [
        migrations.AddIndex(
            model_name="build",
            index=models.Index(
                fields=["state", "-finished_at"],
                name="build_ended",
                condition=models.Q(finished_at__isnull=False),
            ),
        ),
    ]
