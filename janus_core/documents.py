"""What a document is made of, and how it is found again.

Shared by ingestion, stores, retrieval and agents; nothing here does I/O.

A *document* is (collection, source URI). Its *versions* are contents, named by
their SHA-256. A version has *pages* (kept, so that nothing is parsed twice) and
*chunks* (cut from the pages, embedded, searched, cited).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from janus_core.errors import InvalidInput

_NAMESPACE = uuid.UUID("6f5a1f0e-7d52-5a3c-9a38-3f4f6f1b0d11")

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Page:
    """One page of extracted text.

    `number` is the 1-based physical position (page, slide, sheet, section);
    `label` is what is printed on it, where that differs ("iv", "26").
    """

    number: int
    text: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class ExtractedDocument:
    """What an extractor found in a file, before it is cut into chunks."""

    media_type: str
    title: str
    pages: Sequence[Page]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of at most a few hundred tokens.

    `start` and `end` are character offsets into the text of page `page`
    (a chunk never crosses a page). `locator` is for people: "p. 26 (28th page)",
    a heading path, a slide.
    """

    id: uuid.UUID
    ordinal: int
    text: str
    page: int
    start: int
    end: int
    locator: str = ""
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which documents a search may see. Empty means: all of them.

    `tags` must all be present, none of `not_tags` may be. Tags are (key, value).
    """

    collections: frozenset[str] = frozenset()
    tags: frozenset[tuple[str, str]] = frozenset()
    not_tags: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk as read back from the catalogue, with where it came from."""

    chunk_id: uuid.UUID
    document_id: uuid.UUID
    collection: str
    title: str
    uri: str
    object_key: str
    page: int
    locator: str
    text: str
    heading: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def parse_tags(texts: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Given texts like `site=north`, return (key, value) pairs. Raise InvalidInput."""
    pairs = set()
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key.strip() or not text.isprintable():
            raise InvalidInput(f"not a tag: {text!r}", "Write it as key=value.")
        pairs.add((key.strip(), value.strip()))
    return frozenset(pairs)


def content_hash(source: BinaryIO) -> str:
    """Given an open file, read it to its end and return its SHA-256 in lower-case hex."""
    digest = hashlib.sha256()
    while block := source.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def text_hash(text: str) -> str:
    """Given the text of a chunk, return its SHA-256 in lower-case hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def document_id(collection: str, uri: str) -> uuid.UUID:
    """Given a collection and a source URI, return the document's lasting id."""
    return uuid.uuid5(_NAMESPACE, f"document\0{collection}\0{uri}")


def version_id(document: uuid.UUID, sha256: str) -> uuid.UUID:
    """Given a document and the hash of its content, return the version's id."""
    return uuid.uuid5(document, f"version\0{sha256}")


def chunk_id(version: uuid.UUID, recipe: str, ordinal: int, text: str) -> uuid.UUID:
    """Given where a chunk stands and what it says, return its id.

    `recipe` names the parser's and the chunker's version, so that a better
    parser gives new ids and an unchanged one gives the same.
    """
    return uuid.uuid5(version, f"{recipe}\0{ordinal}\0{text_hash(text)}")
