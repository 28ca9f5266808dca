"""What can go wrong with sources and builds, as callers are told of it."""

from licensing.core.errors import Conflict, DomainError


class SourceUnacceptable(DomainError):
    """A source archive cannot be taken as a release; `detail` says what and where."""

    code = "SOURCE_REFUSED"
    status = 422
    title = "The source archive cannot be accepted"


class NotBuildable(Conflict):
    """There is nothing to build: no source, no such target, or no release that customers know of."""

    code = "NOT_BUILDABLE"
    title = "This cannot be built"


class BuildOver(Conflict):
    """The build has ended, or has been taken away, before this could be done to it."""

    code = "BUILD_OVER"
    title = "The build is over"
