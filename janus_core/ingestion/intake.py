"""Taking files in: read once, kept as objects, promised in one transaction.

When `take` has yielded a file as queued, it is in the object store, and its
document row, journal entry and outbox row are committed: nothing can lose it.
"""

from __future__ import annotations

import errno
import os
import stat
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from janus_core.documents import content_hash, document_id
from janus_core.errors import InvalidInput, Locked, TransientFailure, UnreadableDocument
from janus_core.failpoints import reach
from janus_core.ingestion.extract.registry import sniff
from janus_core.queue import jobs
from janus_core.stores import catalogue, journal, versions
from janus_core.stores.base import ObjectStore, Staged
from janus_core.stores.postgres import Database

_LOOK_UP = 200
_READS = 3
"""How often a file that changes while it is read is started again."""
_PAUSES_S = (0.1, 0.3, 1.0, 3.0)
"""Between tries, while a worker or another command is changing the same document."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one file."""

    path: str
    outcome: Literal["added", "replaced", "unchanged", "failed"]
    job_id: uuid.UUID | None = None
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Intake:
    """Takes files into one collection."""

    database: Database
    objects: ObjectStore
    collection: str
    tags: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int = 2 << 30
    correlation_id: uuid.UUID = field(default_factory=uuid.uuid4)

    def take(self, paths: Iterable[Path]) -> Iterator[Taken]:
        """Given files, take in those that are new or changed; yield each one's outcome.

        A file that cannot be taken is yielded as failed with its reason, and the
        rest goes on. Raise StoreUnavailable, NoSpace, … when no file could be taken.
        """
        with self.database.transaction() as tx:
            collection = catalogue.ensure_collection(tx, self.collection)
        batch: list[Path] = []
        for path in paths:
            batch.append(path)
            if len(batch) == _LOOK_UP:
                yield from self._take_batch(batch, collection)
                batch = []
        yield from self._take_batch(batch, collection)

    def take_failed(self) -> Iterator[Taken]:
        """Queue again what failed in this collection, from the originals that are kept."""
        with self.database.transaction() as tx:
            failed = [
                row
                for row in jobs.rows(tx, states=["failed", "quarantined"])
                if row.collection == self.collection and row.kind == "ingest"
            ]
            jobs.retry(tx, [row.id for row in failed])
        for row in failed:
            yield Taken(row.uri, "added", row.id)

    def _take_batch(self, paths: list[Path], collection: int) -> Iterator[Taken]:
        uris = {path: source_uri(path) for path in paths}
        with self.database.transaction() as tx:
            known = versions.known_sources(tx, self.collection, list(uris.values()))
        for path, uri in uris.items():
            yield self._take_one(path, uri, collection, known.get(uri))

    def _take_one(
        self, path: Path, uri: str, collection: int, known: versions.Known | None
    ) -> Taken:
        shown = display_name(path)
        try:
            for pause in _PAUSES_S:
                try:
                    return self._take_file(path, uri, shown, collection, known)
                except (TransientFailure, Locked):
                    time.sleep(pause)
            return self._take_file(path, uri, shown, collection, known)
        except (UnreadableDocument, InvalidInput) as error:
            return Taken(shown, "failed", None, error.message, error.hint)
        except OSError as error:
            return Taken(shown, "failed", None, *_why(error))

    def _take_file(
        self,
        path: Path,
        uri: str,
        shown: str,
        collection: int,
        known: versions.Known | None,
    ) -> Taken:
        with _open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise UnreadableDocument("the file is empty")
            if size > self.max_bytes:
                raise UnreadableDocument(
                    f"the file has {size / 2**20:.1f} MiB, {self.max_bytes >> 20} are allowed",
                    "Raise ingest.max_file_mb.",
                )
            if known and known.sha256 == content_hash(file):
                if known.quarantine:
                    return Taken(shown, "failed", None, *known.quarantine)
                if known.state == "ready" and _same_tags(known, self.tags):
                    return Taken(shown, "unchanged")
            file.seek(0)
            sniff(file, path.name)  # refuses what no extractor reads, before it is stored
            staged = self._stage_consistently(file)
        try:
            job_id = self._promise(uri, collection, staged)
        except BaseException:
            self.objects.discard(staged)
            raise
        return Taken(shown, "replaced" if known and known.visible else "added", job_id)

    def _stage_consistently(self, file: BinaryIO) -> Staged:
        """Stage a file as it was at one moment, as far as its times tell."""
        for _ in range(_READS):
            file.seek(0)
            before = _fingerprint(file)
            staged = self.objects.stage(file)
            if _fingerprint(file) == before and staged.size == before[0]:
                return staged
            self.objects.discard(staged)
        raise UnreadableDocument(
            "the file changes while it is being read", "Ingest it again when it is written."
        )

    def _promise(self, uri: str, collection: int, staged: Staged) -> uuid.UUID:
        document = document_id(self.collection, uri)
        with self.database.transaction() as tx:
            # First the document, then its content, as everybody does: no deadlocks.
            versions.upsert_document(tx, document, collection, uri, self.tags)
            versions.lock_content(tx, staged.sha256)
            reach("intake.put.before")
            key = self.objects.put(staged)
            reach("intake.put.after")
            version = versions.insert_version(tx, document, staged.sha256, staged.size, key)
            job = jobs.enqueue(tx, "ingest", document, version, self.correlation_id)
            journal.append(
                tx,
                "document.received",
                self.correlation_id,
                document=document,
                version=version,
                sha256=staged.sha256,
                size=staged.size,
                job=job,
            )
            reach("intake.commit.before")
        reach("intake.commit.after")
        return job


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Given files and folders, yield absolute paths of files, each once, in a stable order.

    Folders are walked without following links to folders (so loops end) and
    without hidden entries; a path that is named is taken whatever it is called.
    A folder that cannot be read is yielded itself, so that it is missed by nobody.
    Raise InvalidInput, before anything is yielded, for a named path that does not exist.
    """
    # Not resolved: the name that people gave is the source.
    named = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100
    for path in named:
        if not os.path.lexists(path):
            raise InvalidInput(f"no such file or folder: {display_name(path)}")
    seen: set[Path] = set()
    for path in named:
        for found in _walk(path) if os.path.isdir(path) else [path]:  # noqa: PTH112 (never raises)
            if found not in seen:
                seen.add(found)
                yield found


def source_uri(path: Path) -> str:
    """Given an absolute path, return the URI that names it for ever."""
    return path.as_uri()


def display_name(path: Path) -> str:
    """Given a path, return it without bytes that could disturb a terminal."""
    return "".join(
        c if c.isprintable() else "�" for c in os.fsencode(path).decode("utf-8", "replace")
    )


def _walk(folder: Path) -> Iterator[Path]:
    unreadable: list[Path] = []

    def note(error: OSError) -> None:
        unreadable.append(Path(error.filename))

    # os.walk keeps one folder's names in memory, not the tree's.
    for parent, folders, files in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(parent, name)
    yield from unreadable


def _open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raise UnreadableDocument for pipes, devices, folders."""
    # Asked first: opening a device can set it going.
    kind = path.stat().st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise UnreadableDocument("not a regular file", "Only files can be ingested.")
    # Not blocking: opening a named pipe would otherwise wait for a writer for ever.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UnreadableDocument("not a regular file", "Only files can be ingested.")
    return os.fdopen(handle, "rb")


def _fingerprint(file: BinaryIO) -> tuple[int, int, int]:
    now = os.fstat(file.fileno())
    return now.st_size, now.st_mtime_ns, now.st_ctime_ns


def _same_tags(known: versions.Known, tags: Mapping[str, str]) -> bool:
    return all(known.tags.get(key) == value for key, value in tags.items())


def _why(error: OSError) -> tuple[str, str]:
    reasons = {
        errno.ENOENT: ("the file vanished", ""),
        errno.EACCES: ("not allowed to read it", "Check its permissions."),
        errno.ELOOP: ("its symbolic links go in a circle", ""),
        errno.ENXIO: ("not a regular file", "Only files can be ingested."),
        errno.EIO: ("the disk cannot read it", "Check the disk: dmesg, smartctl."),
    }
    return reasons.get(error.errno or 0, (error.strerror or str(error), ""))
