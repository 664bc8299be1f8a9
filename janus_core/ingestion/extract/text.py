"""Plain text and Markdown, in whatever encoding they come.

Pages: a form feed ends a page, as printers read it; such pages carry their count
as label. A file without form feeds is cut into sections of at most 20,000
characters, at a heading, a blank line, a line or a space, whichever comes first
in this order; `Page.number` is then the section and there is no label.

Encodings, in this order: byte-order mark; the zero bytes of UTF-16 and UTF-32;
UTF-8; UTF-8 with stray bytes, which are read as Windows-1252; else what
`charset-normalizer` thinks most likely. Text that was guessed says so in a note.
"""

from __future__ import annotations

import codecs
import contextlib
import encodings
import io
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from janus_core.documents import Page
from janus_core.errors import UnreadableDocument
from janus_core.ingestion.extract.base import Parsed, title_or_name
from janus_core.ingestion.extract.clean import safe_line, safe_text

PARSER_VERSION = "text-1"
SECTION = 20_000
MAX_BYTES = 256 << 20

_SAMPLE = 256 << 10
_BLOCK = 1 << 16
_ENOUGH_TO_GUESS = 32  # bytes beyond ASCII; fewer fit dozens of encodings equally well
_BOMS = (  # UTF-32 before UTF-16: its mark begins with the other's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = bytes(set(range(32)) - set(b"\b\t\n\v\f\r\x1a\x1b"))
_MARKDOWN_TITLE = re.compile(
    r"^(?:#[ \t]+(?P<atx>.+?)[ \t]*#*|(?P<setext>[^\s#>*|`-].*)\n=+[ \t]*)$", re.MULTILINE
)


def _cp1252(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: read the bytes that are not UTF-8 as Windows-1252."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return wrong.decode("cp1252", "replace"), error.end


codecs.register_error("janus-cp1252", _cp1252)


def preload() -> None:
    """Import what detection may need: the child that parses can open no file later."""
    import charset_normalizer  # noqa: F401

    for module in pkgutil.iter_modules(encodings.__path__):
        with contextlib.suppress(LookupError):  # those of another platform
            codecs.lookup(module.name)


def looks_binary(sample: bytes) -> bool:
    """Given the first bytes of a file, say whether they cannot be text.

    A few zero bytes or escapes are tolerated: they are damage, not a format.
    """
    if any(sample.startswith(mark) for mark, _ in _BOMS) or _wide(sample):
        return False
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    return controls > 0.05 * len(sample) + 2


def detect(file: BinaryIO) -> tuple[str, str, str | None]:
    """Given a file, return (codec, error handler, note), reading it to the end if needed.

    Raise UnreadableDocument if the bytes are not text. The file is left at its start.
    """
    file.seek(0)
    sample = file.read(_SAMPLE)
    if looks_binary(sample[:_BLOCK]):
        raise UnreadableDocument("it is a binary file, not text", "Convert it to text or PDF.")
    for mark, codec in _BOMS:
        if sample.startswith(mark):
            return codec, "replace", None
    if wide := _wide(sample):
        return wide, "replace", f"read as {wide.upper()}, though it does not say so"
    stray = _first_not_utf8(file)
    if stray is None:
        return "utf-8", "strict", None
    file.seek(max(0, stray - _SAMPLE // 4))
    return _guess(file.read(_SAMPLE))


def sections(blocks: Iterable[str], size: int = SECTION) -> Iterator[tuple[str, bool]]:
    """Given text in blocks, return (section, whether a form feed ended it), in order.

    A section holds at most `size` characters; joined, they give the text again
    (without its form feeds).
    """
    pending = ""
    for block in blocks:
        pending += block
        while True:
            feed = pending.find("\f", 0, size + 1)
            if feed >= 0:
                yield pending[:feed], True
                pending = pending[feed + 1 :]
            elif len(pending) > size:
                cut = _cut(pending, size)
                yield pending[:cut], False
                pending = pending[cut:]
            else:
                break
    if pending:
        yield pending, False


def parse(file: BinaryIO, name: str, start_page: int = 1, *, markdown: bool = False) -> Parsed:
    """Given an open text file and its name, return its sections from `start_page` on.

    Raise UnreadableDocument if it is binary, too large, or holds no text.
    """
    if file.seek(0, io.SEEK_END) > MAX_BYTES:
        raise UnreadableDocument(
            f"it holds more than {MAX_BYTES >> 20} MB of text", "Split the file into smaller ones."
        )
    codec, errors, note = detect(file)

    def read() -> Iterator[str]:
        file.seek(0)
        reader = io.TextIOWrapper(file, codec, errors)
        try:
            yield from iter(lambda: reader.read(_BLOCK), "")
        finally:
            reader.detach()  # else it would close the file with itself

    total, pages = paginate(read, start_page)
    title = _markdown_title(next(read(), "")) if markdown else None
    return Parsed(title_or_name(title, name), total, pages, [note] if note else [])


def paginate(read: Callable[[], Iterator[str]], start_page: int) -> tuple[int, Iterator[Page]]:
    """Given what reads a text in blocks (called twice), return the number of pages and the pages.

    Raise UnreadableDocument if there is nothing but white space.
    """
    total, feeds, blank = 0, 0, True
    for section, fed in sections(read()):
        total += 1
        feeds += fed
        blank = blank and not section.strip()
    if blank:
        raise UnreadableDocument("it holds no text", "Nothing to ingest in this file.")
    return total, _pages(sections(read()), start_page, labelled=feeds > 0)


def _pages(found: Iterator[tuple[str, bool]], start_page: int, *, labelled: bool) -> Iterator[Page]:
    printed = 1
    for number, (section, fed) in enumerate(found, start=1):
        if number >= start_page:
            yield Page(number, safe_text(section), str(printed) if labelled else None)
        printed += fed


def _cut(text: str, size: int) -> int:
    for boundary in ("\n\n#", "\n\n", "\n", " "):
        at = text.rfind(boundary, size // 2, size)
        if at >= 0:
            return at + len(boundary.rstrip("#"))
    return size


def _markdown_title(text: str) -> str | None:
    match = _MARKDOWN_TITLE.search(text)
    return safe_line(match["atx"] or match["setext"]) if match else None


def _wide(sample: bytes) -> str | None:
    """Recognise UTF-16 and UTF-32 without mark by where their zero bytes stand."""
    sample = sample[: len(sample) // 4 * 4]
    if len(sample) < 8:
        return None
    quarter = len(sample) / 4
    zeros = [sample[place::4].count(0) / quarter for place in range(4)]
    if min(zeros[2:]) > 0.9 > zeros[0]:
        return "utf-32-le"
    if min(zeros[:2]) > 0.9 > zeros[3]:
        return "utf-32-be"
    odd, even = min(zeros[1], zeros[3]), max(zeros[0], zeros[2])
    if odd > 0.4 and even < 0.1:
        return "utf-16-le"
    odd, even = max(zeros[1], zeros[3]), min(zeros[0], zeros[2])
    if even > 0.4 and odd < 0.1:
        return "utf-16-be"
    return None


def _first_not_utf8(file: BinaryIO) -> int | None:
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")()
    done = 0
    while block := file.read(_BLOCK):
        try:
            decoder.decode(block)
        except UnicodeDecodeError:
            return done
        done += len(block)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return done
    return None


def _guess(sample: bytes) -> tuple[str, str, str]:
    """Given bytes around the first that are not UTF-8, return (codec, errors, note)."""
    wrong = len(sample) - len(sample.decode("utf-8", "ignore").encode("utf-8"))
    letters = sum(1 for character in sample.decode("utf-8", "ignore") if character > "\x7f")
    if letters >= wrong:
        return "utf-8", "janus-cp1252", "mixed encodings: UTF-8 with bytes of another one"
    if wrong < _ENOUGH_TO_GUESS:
        return "cp1252", "replace", "the encoding was guessed: Windows-1252"
    from charset_normalizer import from_bytes

    best = from_bytes(sample).best()
    if best is None:
        return "utf-8", "janus-cp1252", "the encoding is unknown: some letters may be wrong"
    return best.encoding, "replace", f"the encoding was guessed: {best.encoding}"
