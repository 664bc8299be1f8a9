"""What `janus doctor` looks at: each finding says what is wrong and the one thing to do.

Every check stands alone: one that cannot be made becomes a finding itself.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from janus_core import __version__
from janus_core.app import Janus
from janus_core.errors import JanusError
from janus_core.node.health import services_health
from janus_core.node.profile import workers_run
from janus_core.processes import ServiceUser, service_user

Severity = Literal["ok", "warn", "fail"]

_PGVECTOR_LIMIT = 1_000_000
"""Chunks beyond which a vector store of its own pays (docs/decisions/001)."""
_JOBS_LIMIT = 10_000
_RELEASED = datetime(2026, 1, 1, tzinfo=UTC)
"""No clock of a machine that runs this Janus can stand before it."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One finding. `fix` is the one thing to do about it, "" where nothing is to be done."""

    check: str
    state: Severity
    detail: str
    fix: str = ""
    repaired: bool = False


def examine(
    janus: Janus, *, repair: bool = False, verify_objects: bool = False
) -> Iterator[Diagnosis]:
    """Yield the findings of every check, as they are made.

    With `repair`, mend what can be mended without losing anything. With
    `verify_objects`, read every original and compare its hash.
    """
    before: list[tuple[str, Callable[[], Iterator[Diagnosis]]]] = [
        ("python", lambda: _python()),
        ("path", lambda: _path()),
        ("clock", lambda: _clock()),
        ("disk", lambda: _disk(janus)),
        ("memory", lambda: _memory()),
        ("folders", lambda: _folders(janus, repair=repair)),
        ("models", lambda: _models(janus)),
        ("sandbox", lambda: _sandbox()),
    ]
    after: list[tuple[str, Callable[[], Iterator[Diagnosis]]]] = [
        ("services", lambda: _services(janus)),
        ("schema", lambda: _schema(janus)),
        ("journal", lambda: _journal(janus)),
        ("queue", lambda: _queue(janus)),
        ("index", lambda: _index(janus)),
        ("stores", lambda: _integrity(janus, repair=repair, verify_objects=verify_objects)),
        ("size", lambda: _size(janus)),
    ]
    for name, check in before:
        yield from _guarded(name, check)
    if not janus.locations.secrets_file.exists():
        yield Diagnosis("services", "warn", "Janus was never brought up here", "Run: janus up")
        return
    for name, check in after:
        yield from _guarded(name, check)


def _guarded(name: str, check: Callable[[], Iterator[Diagnosis]]) -> Iterator[Diagnosis]:
    try:
        yield from check()
    except JanusError as error:
        yield Diagnosis(name, "fail", error.message, error.hint)
    except OSError as error:
        yield Diagnosis(name, "fail", f"could not be checked: {error}", "Check that path.")


def _python() -> Iterator[Diagnosis]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    fine = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Diagnosis(
        "python",
        "ok" if fine else "fail",
        f"Janus {__version__} on Python {version}",
        "" if fine else "Install it with Python 3.11 to 3.13: ./install.sh --python EXE",
    )


def _path() -> Iterator[Diagnosis]:
    ours = Path(sys.executable).parent / "janus"
    found = shutil.which("janus")
    if found is None:
        yield Diagnosis(
            "path", "warn", "`janus` is not on your PATH", f'Add: export PATH="{ours.parent}:$PATH"'
        )
    elif ours.exists() and not _leads_to(Path(found), ours):
        yield Diagnosis(
            "path",
            "warn",
            f"`janus` is {found}, but this is {ours}",
            f"Remove the other, or put {ours.parent} first in PATH.",
        )
    else:
        yield Diagnosis("path", "ok", found)


def _leads_to(found: Path, ours: Path) -> bool:
    """Whether a command is ours: a link to it, or a small script that calls it."""
    if found.resolve() == ours.resolve():
        return True
    with found.open("rb") as file:
        return os.fsencode(ours) in file.read(4096)


def _clock() -> Iterator[Diagnosis]:
    now = datetime.now(UTC)
    if now < _RELEASED:
        yield Diagnosis(
            "clock", "fail", f"the clock says {now:%Y-%m-%d}", "Set it: date -s, or attach an RTC."
        )
    else:
        yield Diagnosis("clock", "ok", f"{now:%Y-%m-%d %H:%M} UTC")


def _disk(janus: Janus) -> Iterator[Diagnosis]:
    for what, place in (("data", janus.locations.data), ("models", janus.locations.models)):
        there = next(path for path in (place, *place.parents) if path.exists())
        usage = shutil.disk_usage(there)
        free = usage.free / 2**30
        state: Severity = "fail" if free < 0.25 else "warn" if free < 2 else "ok"
        yield Diagnosis(
            "disk",
            state,
            f"{free:.1f} of {usage.total / 2**30:.1f} GiB free for {what} ({there})",
            "" if state == "ok" else "Free some space, or move JANUS_HOME to a larger disk.",
        )


def _memory() -> Iterator[Diagnosis]:
    lines = Path("/proc/meminfo").read_text().splitlines()
    values = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in lines if ":" in line}
    free = values.get("MemAvailable", 0)
    state: Severity = "fail" if free < 200 else "warn" if free < 600 else "ok"
    yield Diagnosis(
        "memory",
        state,
        f"{free} of {values.get('MemTotal', 0)} MiB available",
        "" if state == "ok" else "Choose a smaller chat model, or worker.threads = 1.",
    )


def _folders(janus: Janus, *, repair: bool) -> Iterator[Diagnosis]:
    places, user = janus.locations, service_user()
    checked = 0
    for path in (places.config, places.data, places.state, places.runtime, places.secrets_file):
        if not path.exists():
            continue
        checked += 1
        found = path.stat()
        owner = user.uid if user else os.geteuid()
        if found.st_uid != owner:
            yield Diagnosis(
                "folders",
                "fail",
                f"{path} belongs to uid {found.st_uid}, not {owner}",
                f"Run: chown -R {_name(user)} {path}",
            )
        elif stat.S_IMODE(found.st_mode) & 0o077:
            wanted = 0o700 if path.is_dir() else 0o600
            yield _closed(path, wanted, repair=repair)
    if checked:
        yield Diagnosis("folders", "ok", f"{checked} private folders and files looked at")


def _closed(path: Path, mode: int, *, repair: bool) -> Diagnosis:
    finding = Diagnosis(
        "folders",
        "warn",
        f"{path} can be entered or read by other users",
        f"Run: chmod {mode:o} {path}",
    )
    if not repair:
        return finding
    path.chmod(mode)
    return replace(finding, state="ok", repaired=True, detail=f"{path} was open to other users")


def _name(user: ServiceUser | None) -> str:
    return user.name if user else str(os.geteuid())


def _models(janus: Janus) -> Iterator[Diagnosis]:
    from janus_core.llm.models import find_chat, find_embedding, verify

    chat, folder = janus.settings.chat, janus.locations.models
    if chat.url is None:
        try:
            verify(found := find_chat(folder, chat.model))
            yield Diagnosis("models", "ok", f"chat model {found.name}, its checksum holds")
        except JanusError as error:
            # Search and quotes work without it.
            yield Diagnosis("models", "warn", error.message, error.hint)
    embedding = find_embedding(folder, janus.settings.embeddings.model)
    verify(embedding)
    yield Diagnosis("models", "ok", f"embedding model {embedding.id}, its checksum holds")


def _sandbox() -> Iterator[Diagnosis]:
    from janus_core.ingestion.extract.extractor import Extractor

    with Extractor() as extractor:
        held = extractor.capabilities()
    missing = sorted(name for name, holds in held.items() if not holds)
    if missing:
        yield Diagnosis(
            "sandbox",
            "warn",
            f"documents are parsed without: {', '.join(missing)}",
            "A newer kernel with Landlock and user namespaces would add them.",
        )
    else:
        yield Diagnosis("sandbox", "ok", f"documents are parsed confined: {', '.join(held)}")


def _services(janus: Janus) -> Iterator[Diagnosis]:
    for service in services_health(janus):
        what = f"{service.name} is {service.state}"
        if service.state == "up":
            yield Diagnosis("services", "ok", f"{service.name} {service.version}".strip())
        else:
            # Generation is a comfort, the stores are not.
            state: Severity = "warn" if service.name == "llm" else "fail"
            detail = f"{what}: {service.detail}" if service.detail else what
            yield Diagnosis(
                "services", state, detail, f"Run: janus up (janus logs {service.name} shows why)"
            )


def _schema(janus: Janus) -> Iterator[Diagnosis]:
    janus.database.check_schema()
    yield Diagnosis("schema", "ok", f"revision {janus.database.revision()}")


def _journal(janus: Janus) -> Iterator[Diagnosis]:
    from janus_core.stores import journal

    intact = journal.verify(janus.database)
    newest = journal.entries(janus.database, limit=1)
    ahead = newest[0].at.timestamp() - time.time() if newest else 0.0
    if ahead > 60:
        yield Diagnosis(
            "clock",
            "warn",
            f"the journal's newest entry lies {ahead / 60:.0f} minutes in the future",
            "The clock went back: set it (timedatectl).",
        )
    yield Diagnosis("journal", "ok", f"{intact} entries, the chain of hashes holds")


def _queue(janus: Janus) -> Iterator[Diagnosis]:
    from janus_core.queue import jobs

    with janus.database.transaction() as tx:
        counts = jobs.counts(tx)
    over = counts["failed"] + counts["quarantined"]
    waiting = counts["ready"] + counts["running"] + counts["delayed"]
    if over:
        yield Diagnosis("queue", "warn", f"{over} jobs failed", "See: janus queue list")
    if waiting and not workers_run(janus):
        yield Diagnosis("queue", "warn", f"{waiting} jobs wait for a worker", "Run: janus up")
    if waiting > _JOBS_LIMIT:
        yield Diagnosis(
            "queue",
            "warn",
            f"{waiting} jobs wait",
            "More hands: worker.processes, or janus worker on another host.",
        )
    if not over and waiting <= _JOBS_LIMIT:
        yield Diagnosis("queue", "ok", f"{waiting} jobs wait or run, none failed")


def _index(janus: Janus) -> Iterator[Diagnosis]:
    from janus_core.stores import catalogue

    current = janus.embedder.name
    with janus.database.transaction() as tx:
        found = catalogue.embedders(tx)
    others = {name: number for name, number in found.items() if name != current}
    if others:
        yield Diagnosis(
            "index",
            "fail",
            f"{sum(others.values())} documents are indexed with {', '.join(sorted(others))}",
            "Run: janus docs reindex",
        )
    else:
        yield Diagnosis("index", "ok", f"{found.get(current, 0)} documents indexed with {current}")


def _integrity(janus: Janus, *, repair: bool, verify_objects: bool) -> Iterator[Diagnosis]:
    from janus_core import integrity

    stores = integrity.Stores(janus.database, janus.objects, janus.vectors, janus.embedder.name)
    findings = integrity.check(stores, verify_objects=verify_objects)
    if repair:
        integrity.repair(stores, findings, uuid.uuid4())
    for finding in findings:
        yield Diagnosis(
            "stores",
            "warn" if finding.repairable else "fail",
            f"{finding.kind}: {finding.detail}",
            "Run: janus doctor --repair" if finding.repairable else "Restore the last backup.",
            repaired=repair and finding.repairable,
        )
    if not findings:
        how = "hashes compared" if verify_objects else "hashes not read"
        yield Diagnosis("stores", "ok", f"catalogue, vectors and originals agree ({how})")


def _size(janus: Janus) -> Iterator[Diagnosis]:
    from janus_core.stores import catalogue

    with janus.database.transaction() as tx:
        chunks = catalogue.counts(tx)["chunks"]
    if chunks > _PGVECTOR_LIMIT and janus.urls.vectors.startswith("pgvector+"):
        yield Diagnosis(
            "size",
            "warn",
            f"{chunks} chunks are many for vectors inside PostgreSQL",
            "Set stores.vectors to a vector store of its own.",
        )
    else:
        yield Diagnosis("size", "ok", f"{chunks} chunks")
