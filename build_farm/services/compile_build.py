"""Compiling what the queue says (`build`): claim, compile in the sandbox, keep the bytes, hand on to be signed."""

import contextlib
import errno
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import structlog
from django.db import Error as DatabaseError
from django.db import connection

from build_farm.compile import CompiledBinary, CompileFailed, CompileRequest, WarmUp, compile_plugin
from build_farm.hints import SIGN, hint
from build_farm.models import Build
from build_farm.sandbox import BuildSlot, SandboxUnavailable, SlotsBusy, Stop
from build_farm.services.prepare_build import as_constants
from build_farm.services.queue import claim_build, extend_lease, fail_build, hand_to_signing, lease, try_again_later
from build_farm.sources import SourceRefused
from build_farm.workplace import Workplace
from registry.services.stored_files import as_stored
from registry.storage import ArtifactStore, FileDamaged, StoreUnavailable
from registry.storage.interface import CHUNK_BYTES

log = structlog.get_logger(__name__)

_BEATS_IN_A_LEASE: Final = 4
_LONGEST_PAUSE_SECONDS: Final = 2.0  # a build that is cancelled is stopped at the next beat
_LARGEST_BINARY_BYTES: Final = 1024**3


def build_next(*, worker: str, workplace: Workplace, store: ArtifactStore) -> bool:
    """Compile the next waiting build; False if there is none, or no slot of this machine is free."""
    try:
        with workplace.pool.take() as slot:
            build = claim_build(worker=worker, now=datetime.now(UTC))
            if build is None:
                return False
            with heartbeat(build) as is_lost:
                _build(build, slot, workplace, store, is_lost)
    except SlotsBusy:
        return False
    return True


@contextlib.contextmanager
def heartbeat(build: Build) -> Iterator[threading.Event]:
    """Keep the build's lease while the block runs, from a thread with a connection of its own.

    The block is given an event that is set once the build is no longer this worker's: cancelled, or taken away.
    """
    is_over, is_lost = threading.Event(), threading.Event()
    pause = min(lease().total_seconds() / _BEATS_IN_A_LEASE, _LONGEST_PAUSE_SECONDS)

    def beat() -> None:
        try:
            while not is_over.wait(pause):
                try:
                    if not extend_lease(build, now=datetime.now(UTC)):
                        is_lost.set()
                        return
                except DatabaseError:
                    connection.close()  # the next beat connects anew
        finally:
            connection.close()

    thread = threading.Thread(target=beat, name=f"heartbeat-{build.pk}", daemon=True)
    thread.start()
    try:
        yield is_lost
    finally:
        is_over.set()
        thread.join()


def _build(build: Build, slot: BuildSlot, workplace: Workplace, store: ArtifactStore, is_lost: threading.Event) -> None:
    now = datetime.now(UTC)
    try:
        _compile_and_hand_on(build, slot, workplace, store, is_lost)
    except CompileFailed as exc:
        if exc.result.stop is Stop.CALLED_OFF:
            log.info("build.called_off", build_id=build.pk, seconds=round(exc.result.wall_seconds, 1))
        elif exc.result.stop is Stop.WALL_CLOCK:
            try_again_later(build, reason=f"{exc.summary}.", now=datetime.now(UTC))
        else:
            fail_build(build, failure=f"{exc.summary[:1].upper()}{exc.summary[1:]}.", log=exc.log, now=now)
    except SourceRefused as exc:
        fail_build(build, failure=f"The source cannot be built: {exc}", log=f"{exc}\n", now=now)
    except SandboxUnavailable as exc:
        log.error("build.no_sandbox", build_id=build.pk, reason=str(exc))
        fail_build(build, failure="The build sandbox cannot be had on this machine, so nothing was run.", now=now)
    except FileDamaged as exc:
        fail_build(build, failure="The release's source archive is missing or damaged.", now=now)
        log.error("build.source_damaged", build_id=build.pk, reason=exc.reason)
    except (OSError, StoreUnavailable) as exc:
        log.error("build.interrupted", build_id=build.pk, error_type=type(exc).__name__, reason=_words(exc))
        try_again_later(build, reason=_words(exc), now=datetime.now(UTC))
    except Exception as exc:
        try_again_later(build, reason="an internal error; the server's log has more.", now=datetime.now(UTC))
        log.exception("build.crashed", build_id=build.pk, error_type=type(exc).__name__)
        raise


def _words(exc: OSError | StoreUnavailable) -> str:
    """What happened in words for the customer: nothing of our paths."""
    if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the build machine's disk is full."
    return "the build machine could not read or write its files."


def _compile_and_hand_on(
    build: Build, slot: BuildSlot, workplace: Workplace, store: ArtifactStore, is_lost: threading.Event
) -> None:
    scratch = workplace.scratch()
    try:
        began = datetime.now(UTC)
        compiled = compile_build(
            build, slot=slot, workplace=workplace, store=store, scratch=scratch, called_off=is_lost
        )
        with compiled.path.open("rb") as binary:
            stored = store.put_stream(iter(lambda: binary.read(CHUNK_BYTES), b""), max_bytes=_LARGEST_BINARY_BYTES)
        finished = datetime.now(UTC)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    waited = (began - build.created_at).total_seconds()
    result: dict[str, Any] = {
        "binary_sha256": stored.sha256,
        "binary_size": stored.size,
        "binary_object_version": stored.object_version,
        "kit_version": workplace.kit.version,
        "kit_digest": workplace.kit.digest,
        "toolchain": workplace.toolchain.version,
        "log": compiled.log,
        "timings": {
            **build.timings,
            "queued": round(waited, 3),
            "compile": round(compiled.result.wall_seconds, 3),
            "build": round((finished - began).total_seconds(), 3),
        },
    }
    if hand_to_signing(build, result=result):
        hint(SIGN)
    else:
        log.info("build.dropped", build_id=build.pk)


def compile_build(
    build: Build,
    *,
    slot: BuildSlot,
    workplace: Workplace,
    store: ArtifactStore,
    scratch: Path,
    called_off: threading.Event | None = None,
) -> CompiledBinary:
    """Compile a build from its release's source and its constants, warming the cache where it is cold.

    `build.constants` must be there. Raises what `compile_plugin` raises, and the store's errors.
    """
    source = build.release.source
    if source is None or build.constants is None:
        raise SourceRefused("the release has no source archive")

    def fetch(archive: IO[bytes]) -> None:
        with contextlib.closing(store.open(as_stored(source))) as stored:
            for piece in stored.chunks(0, stored.size):
                archive.write(piece)

    tree = workplace.source_tree(source.sha256, fetch)
    warm_up = WarmUp(
        cache=workplace.cache,
        kit=workplace.kit,
        toolchain=workplace.toolchain,
        slot=slot,
        settings=workplace.sandbox,
        called_off=called_off,
    )
    warm_up.warm_base(build.target, workplace=scratch)
    warm_up.warm_release(tree, build.target)
    return compile_plugin(
        CompileRequest(
            tree=tree,
            toolchain=workplace.toolchain,
            constants=as_constants(build.constants),
            slot=slot,
            cache=workplace.cache,
            kit_digest=workplace.kit.digest,
            destination=scratch / "plugin",
            settings=workplace.sandbox,
            called_off=called_off,
        )
    )
