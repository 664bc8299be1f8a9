"""PDF, through PDFium (pypdfium2): text in reading order, page by page.

`Page.number` is the physical position, `Page.label` what is printed on the page
(the position again where the file names no labels). Words that a line end cut in
two, which PDFium marks, are joined. A damaged page becomes an empty one and a
note; a document of which no page can be read is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from janus_core.documents import Page
from janus_core.errors import UnreadableDocument
from janus_core.ingestion.extract.base import Parsed, title_or_name
from janus_core.ingestion.extract.clean import safe_line, safe_text

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

PARSER_VERSION = "pdf-1"

# What PDFium puts where a word was hyphenated at a line end (U+FFFE; U+0002 before 2021).
_CUT_WORD = re.compile("[\ufffe\x02]\r?\n?")
_POOR_TITLE = re.compile(
    r"^(untitled.*|.*\.(docx?|dvi|tex|indd|pdf|qxd|rtf|odt)|\W*)$", re.IGNORECASE
)
_NO_TEXT_HINT = (
    "It is probably a scan. Janus cannot read scans (OCR) yet: "
    "run it through an OCR program that writes a PDF with text, such as ocrmypdf."
)


def preload() -> None:
    """Load PDFium: the child that parses can open no file later."""
    import pypdfium2  # noqa: F401


def parse(file: BinaryIO, name: str, start_page: int = 1) -> Parsed:
    """Given an open PDF and its name, return its pages from `start_page` on.

    Raise UnreadableDocument if it is encrypted or damaged; while pages are read, if
    none of them (from page 1 on) holds any text.
    """
    document = _open(file)
    total = len(document)
    if not total:
        raise UnreadableDocument("the PDF is damaged: it has no pages", "Get a whole copy of it.")
    notes: list[str] = []
    if not _ends_well(file):
        notes.append("the PDF is truncated or has no end mark: pages may be missing")
    title = safe_line(str(document.get_metadata_dict().get("Title", "")))
    if _POOR_TITLE.match(title):
        title = _first_line(document)
    return Parsed(title_or_name(title, name), total, _pages(document, start_page, notes), notes)


def _open(file: BinaryIO) -> PdfDocument:
    import pypdfium2
    from pypdfium2 import raw

    file.seek(0)
    try:
        return pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise UnreadableDocument(
                "the PDF is encrypted: it opens only with a password",
                "Save a copy without password, e.g. `qpdf --decrypt --password=… in.pdf out.pdf`.",
            ) from error
        raise UnreadableDocument(
            "the PDF is damaged or truncated",
            "Get a whole copy of it, or try `qpdf in.pdf out.pdf`, which can repair some.",
        ) from error


def _pages(document: PdfDocument, start_page: int, notes: list[str]) -> Iterator[Page]:
    import pypdfium2

    damaged: list[int] = []
    pictures: list[int] = []
    anything = False
    for number in range(start_page, len(document) + 1):
        text = ""
        try:
            text, picture = _read(document, number - 1)
        except pypdfium2.PdfiumError:
            damaged.append(number)
        else:
            if picture:
                pictures.append(number)
        anything = anything or bool(text.strip())
        yield Page(number, text, safe_line(document.get_page_label(number - 1)) or str(number))
    if start_page == 1 and not anything:
        if len(damaged) == len(document):
            raise UnreadableDocument(
                "the PDF is damaged: none of its pages can be read", "Get a whole copy of it."
            )
        raise UnreadableDocument("no text layer: the PDF has pictures of pages only", _NO_TEXT_HINT)
    if damaged:
        notes.append(f"{_some_pages(damaged)} damaged and left out")
    if pictures:
        notes.append(f"{_some_pages(pictures)} a picture without text (a scan): left out")


def _read(document: PdfDocument, index: int) -> tuple[str, bool]:
    """Given a page's index, return its text, and whether it is a picture without text."""
    from pypdfium2 import raw

    page = document[index]
    try:
        text_page = page.get_textpage()
        try:
            text = safe_text(_CUT_WORD.sub("", text_page.get_text_range()))
        finally:
            text_page.close()
        picture = not text.strip() and any(
            True for _ in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=2)
        )
        return text, picture
    finally:
        page.close()


def _first_line(document: PdfDocument) -> str:
    import pypdfium2

    for index in range(min(3, len(document))):
        try:
            text, _ = _read(document, index)
        except pypdfium2.PdfiumError:
            continue
        for line in text.splitlines():
            if sum(character.isalpha() for character in line) >= 3:
                return line
    return ""


def _ends_well(file: BinaryIO) -> bool:
    size = file.seek(0, 2)
    file.seek(max(0, size - 2048))
    return b"%%EOF" in file.read()


def _some_pages(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:10])) + (" …" if len(numbers) > 10 else "")
    return f"page {shown} is" if len(numbers) == 1 else f"{len(numbers)} pages ({shown}) are"
