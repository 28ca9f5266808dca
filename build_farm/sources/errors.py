"""Why a source is refused, in words for the vendor who sent it."""


class SourceRefused(Exception):
    """The source cannot be accepted. The message is for its vendor."""


class MemberRefused(SourceRefused):
    """A member of the archive cannot be unpacked: `member` names it (shortened, printable), `reason` says why."""

    def __init__(self, member: str, reason: str) -> None:
        self.member = printable(member)
        self.reason = reason
        super().__init__(f"{self.member}: {reason}")


class ManifestRefused(SourceRefused):
    """`keywright.toml` is not as documented: `field` says where, dotted."""

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason
        super().__init__(f"keywright.toml: {field}: {reason}" if field else f"keywright.toml: {reason}")


class GoModuleRefused(SourceRefused):
    """`go.mod` asks for something that the farm does not do."""

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        self.reason = reason
        super().__init__(f"go.mod:{line}: {reason}" if line else f"go.mod: {reason}")


def printable(text: str, *, longest: int = 200) -> str:
    """`text` on one line with unprintable characters escaped, shortened."""
    escaped = "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in text
    )
    return escaped if len(escaped) <= longest else f"{escaped[:longest]}…"
