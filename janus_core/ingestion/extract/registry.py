"""Which formats Janus reads, and how it tells them apart: by content, then by name."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from janus_core.errors import UnreadableDocument
from janus_core.ingestion.extract import html, pdf, text
from janus_core.ingestion.extract.base import Parsed


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file that can be read.

    `parser` names the parser and its version for the chunk recipe: text that
    another version extracts is other text. `marks_headings` says whether lines
    that begin with `#` are headings (in a shell script they are not).
    """

    name: str
    media_type: str
    suffixes: tuple[str, ...]
    parser: str
    parse: Callable[[BinaryIO, str, int], Parsed]
    marks_headings: bool = False


def _markdown(file: BinaryIO, name: str, start_page: int) -> Parsed:
    return text.parse(file, name, start_page, markdown=True)


PDF = Format("PDF", "application/pdf", (".pdf",), pdf.PARSER_VERSION, pdf.parse)
HTML = Format(
    "HTML", "text/html", (".html", ".htm", ".xhtml"), html.PARSER_VERSION, html.parse, True
)
MARKDOWN = Format(
    "Markdown", "text/markdown", (".md", ".markdown"), text.PARSER_VERSION, _markdown, True
)
TEXT = Format(
    "plain text",
    "text/plain",
    (".txt", ".text", ".rst", ".log", ".csv", ".tsv", ".json", ".xml", ".yaml", ".toml", ".py"),
    text.PARSER_VERSION,
    text.parse,
)

FORMATS = (PDF, HTML, MARKDOWN, TEXT)
"""Every supported format. Plain text is what any other text is read as, whatever its suffix."""

_HTML_START = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<!doctype\s+html|<html|<head|<body|<title)",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(rb"<(?:p|div|h[1-6]|table|ul|ol|dl|pre|br|a|span|b|i)\b[^>]*>", re.IGNORECASE)
_FOREIGN = (  # (offset, first bytes, what it is)
    (0, b"PK\x03\x04", "a ZIP archive (as .docx, .xlsx, .pptx, .odt and .epub are)"),
    (0, b"PK\x05\x06", "an empty ZIP archive"),
    (0, b"\xd0\xcf\x11\xe0", "an old Office file (.doc, .xls, .ppt)"),
    (0, b"{\\rtf", "an RTF document"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\0", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"II*\0", "a TIFF picture"),
    (0, b"MM\0*", "a TIFF picture"),
    (0, b"\x7fELF", "a program (ELF)"),
    (0, b"MZ\x90", "a program (Windows)"),
    (0, b"SQLite format 3\0", "a SQLite database"),
    (0, b"\xf7\x02", "a DVI file"),
    (4, b"ftyp", "a video or audio file (MP4)"),
    (0, b"OggS", "an audio file (Ogg)"),
    (0, b"ID3", "an audio file (MP3)"),
    (0, b"RIFF", "a picture, audio or video file (RIFF)"),
)


def supported() -> str:
    """Return the supported formats as a phrase for people."""
    return ", ".join(f"{form.name} ({' '.join(form.suffixes)})" for form in FORMATS)


def sniff(file: BinaryIO, name: str) -> Format:
    """Given an open file and its name, return its format, trusting content before name.

    Raise UnreadableDocument, with what it seems to be, if the format is not supported.
    """
    file.seek(0)
    start = file.read(8192)
    if not start:
        raise UnreadableDocument("the file is empty", "Nothing to ingest in it.")
    if b"%PDF-" in start[:1024]:
        return PDF
    for offset, magic, kind in _FOREIGN:
        if start.startswith(magic, offset):
            raise _unsupported(kind)
    if text.looks_binary(start):
        raise _unsupported("a binary file of unknown format")
    suffix = PurePosixPath(name).suffix.lower()
    plain = start.replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf").lstrip(b"\xff\xfe")
    if _HTML_START.match(plain) or (suffix in HTML.suffixes and _TAG.search(plain)):
        return HTML
    return MARKDOWN if suffix in MARKDOWN.suffixes else TEXT


def open_document(file: BinaryIO, name: str, start_page: int = 1) -> tuple[Format, Parsed]:
    """Given an open file and its name, return its format and its pages from `start_page` on.

    Parses in this process: for files that one trusts. Raise UnreadableDocument.
    """
    form = sniff(file, name)
    file.seek(0, io.SEEK_SET)
    return form, form.parse(file, name, start_page)


def preload() -> None:
    """Import and warm up all that any parser needs.

    A forked child can then parse without opening a file, and without repeating what
    the parsers do once, which is as much work as a page of HTML.
    """
    for parser in (text, html, pdf):
        parser.preload()
    list(html.parse(io.BytesIO(b"<title>a</title><h1>b</h1><p>c"), "warm.html").pages)


def _unsupported(kind: str) -> UnreadableDocument:
    return UnreadableDocument(f"it is {kind}", f"Supported: {supported()}.")
