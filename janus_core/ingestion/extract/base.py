"""What every parser returns, and the limits that every parser is held to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from janus_core.documents import Page
from janus_core.ingestion.extract.clean import safe_line

MAX_TITLE = 200
"""Characters of a title that are kept."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may cost before it is given up.

    `batch_seconds` is wall time for each `batch_pages` pages; it runs only while
    the caller waits for a page, so a slow caller is not held against a document.
    `memory_bytes` is held as RSS by a watchdog and as data size by the kernel.
    `page_bytes` and `text_bytes` count UTF-8 of one page and of the document.
    """

    batch_seconds: float = 60.0
    batch_pages: int = 16
    cpu_seconds: int = 1800
    memory_bytes: int = 512 << 20
    pages: int = 100_000
    page_bytes: int = 4 << 20
    text_bytes: int = 256 << 20


@dataclass(slots=True)
class Parsed:
    """An opened document: what is known of it, and its pages, read on demand.

    `total` is the number of pages of the whole document. `pages` starts at the
    page that was asked for. `notes` are remarks for the person who ingests ("mixed
    encodings"); it may grow until `pages` is exhausted.
    """

    title: str
    total: int
    pages: Iterator[Page]
    notes: list[str] = field(default_factory=list)


def title_or_name(title: str | None, name: str) -> str:
    """Given a title found in a file (or none) and the file's name, return one line for people."""
    found = safe_line(title or "")[:MAX_TITLE].strip()
    return found or safe_line(PurePosixPath(name).stem)[:MAX_TITLE] or "untitled"
