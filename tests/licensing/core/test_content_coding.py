"""A compressed body is refused for what it is, not called bad UTF-8."""

import gzip
import json

import pytest
from django.test import Client

BODY = json.dumps({"plugin_name": "api-logger"}).encode()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "GZIP", "gzip, identity"])
def test_a_coded_body_is_415(coding: str) -> None:
    response = Client().post(
        "/api/plugins/validate",
        gzip.compress(BODY),
        content_type="application/json",
        headers={"Authorization": "Bearer a.b.c", "Content-Encoding": coding},
    )

    problem = json.loads(response.content)
    assert (response.status_code, problem["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert (problem["success"], problem["field"]) == (False, "Content-Encoding")


def test_identity_is_no_coding() -> None:
    response = Client().post(
        "/api/plugins/validate",
        BODY,
        content_type="application/json",
        headers={"Authorization": "Bearer a.b.c", "Content-Encoding": "identity"},
    )

    assert json.loads(response.content)["field"] == "plugin_token"
