"""How a binary came to be: a SLSA v1 provenance statement in the in-toto form, to be signed as a DSSE envelope.

Sources: SLSA v1.0 "Provenance", in-toto Attestation Framework v1 "Statement". No name, path or address of the machine
that built is in it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from build_farm.packaging.instants import rfc3339

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "https://keywright.dev/build-types/customer-plugin/v1"


@dataclass(frozen=True, slots=True)
class ProvenanceFacts:
    """What the database says of a build. Digests are hex SHA-256; instants are aware.

    `issuer` is the server's public URL, which names the builder.
    """

    build_id: str
    customer_id: str
    plugin: str
    version: str
    target: str
    issuer: str
    source_sha256: str
    kit_version: str
    kit_digest: str
    toolchain: str
    farm_version: str
    started_at: datetime
    finished_at: datetime


def provenance_statement(facts: ProvenanceFacts, *, binary_name: str, binary_sha256: str) -> bytes:
    """The statement in UTF-8, always the same for the same facts."""
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": binary_name, "digest": {"sha256": binary_sha256}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"buildDefinition": _definition(facts), "runDetails": _run(facts)},
    }
    return json.dumps(statement, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def subject_digest(statement: Mapping[str, Any]) -> str | None:
    """The SHA-256 of a statement's only subject; None unless it is a SLSA v1 statement about one file."""
    subjects = statement.get("subject")
    if statement.get("_type") != STATEMENT_TYPE or statement.get("predicateType") != PREDICATE_TYPE:
        return None
    if not isinstance(subjects, list) or len(subjects) != 1 or not isinstance(subjects[0], dict):
        return None
    digest = subjects[0].get("digest")
    found = digest.get("sha256") if isinstance(digest, dict) else None
    return found if isinstance(found, str) else None


def _definition(facts: ProvenanceFacts) -> dict[str, Any]:
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": {
            "plugin": facts.plugin,
            "version": facts.version,
            "target": facts.target,
            "customer_id": facts.customer_id,
        },
        "internalParameters": {"farm_version": facts.farm_version},
        "resolvedDependencies": [
            {"name": "source", "digest": {"sha256": facts.source_sha256}},
            {
                "name": "keywright.dev/gokit",
                "digest": {"sha256": facts.kit_digest},
                "annotations": {
                    "version": facts.kit_version,
                },
            },
            {"name": "go", "uri": f"https://go.dev/dl/?mode=json#{facts.toolchain}"},
        ],
    }


def _run(facts: ProvenanceFacts) -> dict[str, Any]:
    return {
        "builder": {"id": f"{facts.issuer}/build-farm", "version": {"keywright": facts.farm_version}},
        "metadata": {
            "invocationId": facts.build_id,
            "startedOn": rfc3339(facts.started_at),
            "finishedOn": rfc3339(facts.finished_at),
        },
    }
