"""The routes of `registry`: what every process but `files` serves, and what that one does."""

from django.urls import re_path

from registry.api import files

file_patterns = [
    re_path(r"^files/(?P<segment>[A-Za-z0-9_-]{1,2048})/?\Z", files.download, name="registry-file"),
]
