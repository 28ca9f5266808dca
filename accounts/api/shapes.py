"""What the APIs of `accounts` ask and show. Members are the words of DESIGN §3; lengths are those of the tables."""

from datetime import datetime
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from accounts.models import SCOPES, ApiKey, Customer, Invitation, Membership, OperatorKey, User
from licensing.core.api.shapes import Asked, Instant, ListQuery, Shown
from licensing.core.json_body import whole
from licensing.core.models import AuditEvent

CustomerId = Annotated[str, Meta(pattern=whole(r"[a-z][a-z0-9_]{2,62}"), examples=["cust_123"])]
CustomerName = Annotated[str, Meta(min_length=1, max_length=200, examples=["Acme Corp"])]
Reason = Annotated[str, Meta(max_length=500, examples=["Chargeback on invoice 1042"])]
Cidr = Annotated[str, Meta(max_length=49, examples=["203.0.113.0/24"])]
Cidrs = Annotated[list[Cidr], Meta(max_length=64)]
Metadata = dict[Annotated[str, Meta(min_length=1, max_length=64)], Annotated[str, Meta(max_length=1024)]]
KeyName = Annotated[str, Meta(min_length=1, max_length=100, examples=["Production"])]
Scope = Literal[SCOPES]  # type: ignore[valid-type]
Scopes = Annotated[list[Scope], Meta(min_length=1, max_length=len(SCOPES))]
Email = Annotated[
    str, Meta(min_length=3, max_length=254, pattern=whole(r"[^@\s]+@[^@\s]+"), examples=["admin@cust-123.example"])
]
RoleName = Literal["owner", "admin", "developer", "billing", "viewer"]
Overlap = Annotated[
    int, Meta(ge=0, le=30 * 86400, description="How long the old key lives on, 0 to 2592000 (30 days).")
]


class CustomerAsked(Asked):
    """A customer to make."""

    id: CustomerId
    name: CustomerName
    proof_required: bool = False
    require_mfa: bool = False
    portal_cidrs: Cidrs = []
    metadata: Metadata = {}


class CustomerChanges(Asked):
    """What to change of a customer; members left out stay as they are."""

    name: CustomerName | UnsetType = UNSET
    proof_required: bool | UnsetType = UNSET
    require_mfa: bool | UnsetType = UNSET
    portal_cidrs: Cidrs | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class CustomerChangesInBatch(CustomerChanges, kw_only=True):
    """One customer's changes in a batch."""

    id: CustomerId


class CustomerBatchAsked(Asked):
    """Customers to make and to change, all or none."""

    create: Annotated[list[CustomerAsked], Meta(max_length=500)] = []
    update: Annotated[list[CustomerChangesInBatch], Meta(max_length=500)] = []


class SuspensionAsked(Asked):
    """Why a customer is suspended."""

    reason: Reason = ""


class CustomerShown(Shown):
    """A customer."""

    id: CustomerId
    name: str
    suspended_at: datetime | None
    suspended_reason: str
    proof_required: bool
    require_mfa: bool
    portal_cidrs: list[str]
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Customer) -> "CustomerShown":
        """Show a row."""
        return cls(**{name: getattr(row, name) for name in cls.__struct_fields__})


class CustomerBatchShown(Shown):
    """What a batch made and changed, in the order asked."""

    created: list[CustomerShown]
    updated: list[CustomerShown]


class CustomerQuery(ListQuery):
    """Which customers."""

    search: Annotated[str, Meta(max_length=100, description="How the id or the name starts.")] = ""
    is_suspended: bool | None = None
    ordering: Annotated[
        Literal["id", "-id", "created_at", "-created_at"], Meta(description="Sort order; `-` for descending.")
    ] = "id"


class ApiKeyAsked(Asked):
    """An API key to make. Without `scopes` it gets the usual ones of a plugin."""

    name: KeyName
    mode: Literal["live", "test"] = "live"
    scopes: Scopes | None = None
    cidrs: Cidrs = []
    expires_at: Instant | None = None


class ApiKeyChanges(Asked):
    """What to change of an API key; members left out stay as they are."""

    name: KeyName | UnsetType = UNSET
    scopes: Scopes | UnsetType = UNSET
    cidrs: Cidrs | UnsetType = UNSET
    expires_at: Instant | UnsetType | None = UNSET


class RotationAsked(Asked):
    """How to rotate a key."""

    overlap_seconds: Overlap = 86400
    name: KeyName | None = None


class RevocationAsked(Asked):
    """Why a key is revoked."""

    reason: Annotated[str, Meta(max_length=200, examples=["Found in a public repository"])] = ""


class ApiKeyShown(Shown):
    """An API key; never the key itself."""

    id: str
    customer_id: CustomerId
    name: str
    mode: Literal["live", "test"]
    scopes: list[str]
    cidrs: list[str]
    last4: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_reason: str
    replaced_by: str | None
    last_used_at: datetime | None
    last_used_from: str | None

    @classmethod
    def of(cls, row: ApiKey) -> "ApiKeyShown":
        """Show a row."""
        return cls(**_key_members(row))


class IssuedApiKeyShown(ApiKeyShown):
    """A new API key, with the key itself: shown this once."""

    key: str

    @classmethod
    def issued(cls, row: ApiKey, key: str) -> "IssuedApiKeyShown":
        """Show a new row and its key."""
        return cls(**_key_members(row), key=key)


def _key_members(row: ApiKey) -> dict[str, Any]:
    names: tuple[str, ...] = (
        "id",
        "customer_id",
        "name",
        "mode",
        "scopes",
        "cidrs",
        "last4",
        "created_at",
        "created_by",
    )
    names += ("expires_at", "revoked_at", "revoked_reason")
    use = getattr(row, "use", None)
    return {
        **{name: getattr(row, name) for name in names},
        "replaced_by": row.replaced_by_id,
        "last_used_at": use.last_used_at if use else None,
        "last_used_from": use.last_used_from if use else None,
    }


class ApiKeyQuery(ListQuery):
    """Which API keys."""

    mode: Literal["live", "test"] | None = None
    is_revoked: bool | None = None
    ordering: Literal["created_at", "-created_at"] = "created_at"


class MemberAsked(Asked):
    """A person to ask in."""

    email: Email
    role: RoleName = "viewer"


class RoleAsked(Asked):
    """The role that a person is to have."""

    role: RoleName


class MemberShown(Shown):
    """A person of an organisation; `id` is the person's."""

    id: str
    email: str
    name: str
    role: RoleName
    created_at: datetime

    @classmethod
    def of(cls, row: Membership) -> "MemberShown":
        """Show a row."""
        return cls(
            id=str(row.user_id),
            email=row.user.email,
            name=row.user.name,
            role=cast(RoleName, row.role),
            created_at=row.created_at,
        )


class InvitationShown(Shown):
    """An invitation that waits to be accepted."""

    id: str
    email: str
    role: RoleName
    invited_by: str
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, row: Invitation) -> "InvitationShown":
        """Show a row."""
        return cls(**{name: getattr(row, name) for name in cls.__struct_fields__})


class OperatorAsked(Asked):
    """An operator to make; an existing person becomes one."""

    email: Email
    name: Annotated[str, Meta(max_length=150)] = ""
    is_superuser: bool = False


class OperatorChanges(Asked):
    """What to change of an operator; members left out stay as they are."""

    name: Annotated[str, Meta(max_length=150)] | UnsetType = UNSET
    is_superuser: bool | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET


class OperatorShown(Shown):
    """An operator of the vendor. A superuser may also make operators and rotate signing keys."""

    id: str
    email: str
    name: str
    is_superuser: bool
    is_active: bool
    created_at: datetime

    @classmethod
    def of(cls, row: User) -> "OperatorShown":
        """Show a row."""
        return cls(
            id=str(row.pk),
            email=row.email,
            name=row.name,
            is_superuser=row.is_superuser,
            is_active=row.is_active,
            created_at=row.date_joined,
        )


class OperatorKeyAsked(Asked):
    """An operator key to make."""

    name: KeyName
    expires_at: Instant | None = None


class OperatorKeyShown(Shown):
    """An operator key; never the key itself."""

    id: str
    name: str
    last4: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: OperatorKey) -> "OperatorKeyShown":
        """Show a row."""
        return cls(**{name: getattr(row, name) for name in OperatorKeyShown.__struct_fields__})


class IssuedOperatorKeyShown(OperatorKeyShown):
    """A new operator key, with the key itself: shown this once."""

    key: str

    @classmethod
    def issued(cls, row: OperatorKey, key: str) -> "IssuedOperatorKeyShown":
        """Show a new row and its key."""
        return cls(**{name: getattr(row, name) for name in OperatorKeyShown.__struct_fields__}, key=key)


class ActorShown(Shown):
    """Who acted. Of the vendor's operators a customer learns no more than that it was one."""

    kind: str
    id: str
    display: str


class AuditEventShown(Shown):
    """One row of the audit log."""

    id: int
    at: datetime
    actor: ActorShown
    action: str
    subject_kind: str
    subject_id: str
    customer_id: str
    code: str
    source_address: str | None
    request_id: str
    detail: dict[str, Any]

    @classmethod
    def of(cls, row: AuditEvent) -> "AuditEventShown":
        """Show a row to an operator."""
        return cls._of(row, ActorShown(kind=row.actor_kind, id=row.actor_id, display=row.actor_display))

    @classmethod
    def for_customer(cls, row: AuditEvent) -> "AuditEventShown":
        """Show a row to the customer that it is about."""
        if row.actor_kind == "operator":
            return replace(cls._of(row, ActorShown(kind="operator", id="", display="")), source_address=None)
        return cls.of(row)

    @classmethod
    def _of(cls, row: AuditEvent, actor: ActorShown) -> "AuditEventShown":
        names = (name for name in cls.__struct_fields__ if name != "actor")
        return cls(**{name: getattr(row, name) for name in names}, actor=actor)


class AuditQuery(ListQuery):
    """Which events, newest first."""

    action: Annotated[str, Meta(max_length=64)] = ""
    code: Annotated[str, Meta(max_length=40)] = ""
    actor_kind: Annotated[str, Meta(max_length=16)] = ""
    actor_id: Annotated[str, Meta(max_length=80)] = ""
    subject_kind: Annotated[str, Meta(max_length=32)] = ""
    subject_id: Annotated[str, Meta(max_length=128)] = ""
    since: Instant | None = None
    until: Instant | None = None


class AuditExportQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which events, and in which form."""

    action: Annotated[str, Meta(max_length=64)] = ""
    since: Instant | None = None
    until: Instant | None = None
    form: Annotated[Literal["jsonl", "csv"], Meta(description="JSON Lines or CSV.")] = "jsonl"


class ManageAuditQuery(AuditQuery):
    """Which events, of all customers or one; newest first."""

    customer: Annotated[str, Meta(max_length=63)] = ""
    request_id: Annotated[str, Meta(max_length=40)] = ""
