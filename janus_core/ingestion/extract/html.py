"""HTML, walked with lxml: all the text that a reader of the page sees, in order.

Written for technical documentation, where tables, listings and definition lists
are the content (extractors that look for "the article" drop them). The result is
Markdown-like, so that the chunker knows what it cuts: `#` headings, fenced
listings, rows as `| cell | cell |`, a term on the line before its definition.
Navigation, scripts and what is hidden from the reader are left out.

The parser fetches nothing, expands no entity beyond HTML's own and knows no DTD.
Nesting of any depth is walked without recursion.
"""

from __future__ import annotations

import io
import re
from html import unescape
from typing import TYPE_CHECKING, BinaryIO

from janus_core.errors import UnreadableDocument
from janus_core.ingestion.extract import text
from janus_core.ingestion.extract.base import Parsed, title_or_name
from janus_core.ingestion.extract.clean import safe_line

if TYPE_CHECKING:
    from lxml.etree import _Element

PARSER_VERSION = "html-1"
MAX_BYTES = 48 << 20

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_NAVIGATION = frozenset({"nav", "footer"})
_NAVIGATION_CLASSES = frozenset(
    {"navheader", "navfooter", "headerlink", "sphinxsidebar", "related", "skip-link"}
)
_NAVIGATION_ROLES = frozenset({"navigation", "search", "contentinfo"})
_DROPPED = frozenset(
    {"head", "script", "style", "template", "noframes", "iframe", "object", "embed", "applet"}
    | {"svg", "canvas", "audio", "video", "button", "select", "datalist"}
    | {"annotation", "annotation-xml"}  # TeX beside the MathML that says the same
)
_BLOCKS = frozenset(
    {"html", "body", "main", "article", "section", "aside", "header", "hgroup", "div", "center"}
    | {"p", "address", "blockquote", "hr", "figure", "figcaption", "details", "summary", "dialog"}
    | {"ul", "ol", "menu", "dir", "li", "dl", "dt", "dd", "form", "fieldset", "legend"}
    | {"table", "caption", "thead", "tbody", "tfoot", "tr", "td", "th"}
    | set(_HEADINGS)
)
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_UNSEEN = re.compile(r"<!--.*?-->|<(script|style|head)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_INLINE_TAG = re.compile(
    r"</?(?:a|abbr|b|big|cite|code|em|font|i|kbd|small|span|strong|sub|sup|tt|u|var)\b[^>]*>",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[!/?a-zA-Z][^>]*>")
_META_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{2,40})", re.IGNORECASE
)
_BREAK = "\u2028"  # what <br> becomes until its block is written
_SPACES = re.compile(r"[^\S\u2028]+")


def preload() -> None:
    """Load lxml: the child that parses can open no file later."""
    import lxml.etree  # noqa: F401


def parse(file: BinaryIO, name: str, start_page: int = 1) -> Parsed:
    """Given an open HTML file and its name, return its sections from `start_page` on.

    Raise UnreadableDocument if it is too large, cannot be parsed or holds no text.
    """
    if file.seek(0, io.SEEK_END) > MAX_BYTES:
        raise UnreadableDocument(
            f"the HTML file is larger than {MAX_BYTES >> 20} MB", "Split it into smaller pages."
        )
    data, notes = _as_utf8(file)
    root, whole = _tree(data)
    title = root.findtext(".//title") or next((_content(h) for h in root.iter("h1")), "")
    if whole:
        written = _Writer(drop_navigation=True).write(root)
        if not written.strip():  # a page that is nothing but navigation
            written = _Writer(drop_navigation=False).write(root)
    else:
        written = _without_tags(data.decode("utf-8", "replace"))
        notes.append("nested too deeply: read without its structure")
    total, pages = text.paginate(lambda: iter((written,)), start_page)
    return Parsed(title_or_name(title, name), total, pages, notes)


def _tree(data: bytes) -> tuple[_Element, bool]:
    """Given HTML in UTF-8, return its tree, and whether the parser could read it whole."""
    from lxml import etree

    parser = etree.HTMLParser(
        encoding="utf-8", huge_tree=True, no_network=True, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.LxmlError as error:
        if any(entry.type_name == "ERR_NO_MEMORY" for entry in parser.error_log):
            raise MemoryError from error
        raise UnreadableDocument(f"the HTML cannot be parsed ({error})") from error
    if root is None:
        raise UnreadableDocument("it holds no text", "Nothing to ingest in this file.")
    # libxml2 stops at a depth of 2048 and forgets the rest.
    return root, all(entry.type_name != "ERR_RESOURCE_LIMIT" for entry in parser.error_log)


def _without_tags(source: str) -> str:
    """Given HTML source, return its text by striking out the tags."""
    bare = _TAG.sub("\n", _INLINE_TAG.sub("", _UNSEEN.sub("", source)))
    lines = (" ".join(line.split()) for line in unescape(bare).splitlines())
    return "\n".join(line for line in lines if line)


def _as_utf8(file: BinaryIO) -> tuple[bytes, list[str]]:
    """Return the file as UTF-8: what it declares counts if it decodes by it."""
    file.seek(0)
    declared = _META_CHARSET.search(file.read(4096))
    codec, errors, note = text.detect(file)
    file.seek(0)
    data = file.read()
    if declared and note:
        try:
            return data.decode(declared[1].decode("ascii")).encode("utf-8", "replace"), []
        except (LookupError, UnicodeError):
            pass  # it lies: what was detected is the better guess
    if codec == "utf-8" and errors == "strict":
        return data, []
    return data.decode(codec, errors).encode("utf-8", "replace"), [note] if note else []


class _Writer:
    """Turns a tree into Markdown-like text; one use each."""

    def __init__(self, *, drop_navigation: bool) -> None:
        self._drop_navigation = drop_navigation
        self._blocks: list[str] = []  # each with the line ends that go before it
        self._inline: list[str] = []
        self._lists: list[int | None] = []  # open lists: the next number, None for bullets
        self._prefix = ""
        self._tight = False
        self._cells: list[str] | None = None  # of the row being read
        self._in_cell = False

    def write(self, root: _Element) -> str:
        from lxml import etree

        walker = etree.iterwalk(root, events=("start", "end"))
        for event, element in walker:
            tag = element.tag if isinstance(element.tag, str) else ""
            if event == "start":
                if self._start(tag, element):
                    walker.skip_subtree()
                elif element.text:
                    self._inline.append(element.text)
            else:
                self._end(tag, element)
                if element.tail:
                    self._inline.append(element.tail)
        self._flush()
        return "".join(self._blocks)

    def _start(self, tag: str, element: _Element) -> bool:
        """Handle an opening tag; return whether its content is done with."""
        if self._dropped(tag, element):
            return True
        if tag in _BLOCKS:
            self._start_block(tag, element)
        elif tag == "pre" or tag == "listing" or tag == "xmp":
            self._listing(element)
            return True
        elif tag == "br":
            self._inline.append(_BREAK)
        elif tag == "img":
            self._inline.append(f" {element.get('alt', '')} ")
        elif tag == "sup" and not len(element):
            self._inline.append("^")  # 10^6, not 106
        return False

    def _start_block(self, tag: str, element: _Element) -> None:
        if self._in_cell:
            self._inline.append(" ")
            return
        self._flush()
        if tag in ("ul", "ol", "menu", "dir"):
            self._lists.append(_number(element.get("start")) if tag == "ol" else None)
        elif tag == "li":
            self._prefix = self._marker()
            self._tight = True
        elif tag == "dd":
            self._tight = True
        elif tag in _HEADINGS:
            self._prefix = "#" * _HEADINGS[tag] + " "
        elif tag == "table":
            self._cells = [] if _is_data(element) else None
        elif tag == "tr" and self._cells is not None:
            self._cells = []
        elif tag in ("td", "th") and self._cells is not None:
            self._in_cell = True

    def _end(self, tag: str, element: _Element) -> None:
        if tag not in _BLOCKS or self._dropped(tag, element):
            return
        if tag in ("td", "th") and self._cells is not None:
            self._cells.append(self._take().replace("\n", " "))
            self._in_cell = False
        elif self._in_cell:
            self._inline.append(" ")
        elif tag == "tr" and self._cells is not None:
            if any(self._cells):
                follows = bool(self._blocks) and self._blocks[-1].startswith("|")
                self._block(f"| {' | '.join(self._cells)} |", tight=follows)
            self._cells = []
        else:
            self._flush()
            self._prefix = ""
            if tag == "table":
                self._cells = None
            elif tag in ("ul", "ol", "menu", "dir") and self._lists:
                self._lists.pop()

    def _dropped(self, tag: str, element: _Element) -> bool:
        if "hidden" in element.attrib or _HIDDEN_STYLE.search(element.get("style", "")):
            return True
        if tag in _DROPPED:
            return True
        return self._drop_navigation and (
            tag in _NAVIGATION
            or element.get("role") in _NAVIGATION_ROLES
            or not _NAVIGATION_CLASSES.isdisjoint(element.get("class", "").split())
        )

    def _marker(self) -> str:
        indent = "  " * max(0, len(self._lists) - 1)
        if self._lists and (number := self._lists[-1]) is not None:
            self._lists[-1] = number + 1
            return f"{indent}{number}. "
        return f"{indent}- "

    def _listing(self, element: _Element) -> None:
        code = _content(element).strip("\n").rstrip()
        if self._in_cell:
            self._inline.append(f" {code} ")
            return
        self._flush()
        if code.strip():
            fence = "```" if "```" not in code else "~~~~"
            self._block(f"{fence}\n{code}\n{fence}", tight=False)

    def _take(self) -> str:
        """Return the running text since the last block, white space as a browser shows it."""
        lines = _SPACES.sub(" ", "".join(self._inline)).split(_BREAK)
        self._inline.clear()
        return "\n".join(line.strip() for line in lines).strip()

    def _flush(self) -> None:
        if written := self._take():
            if self._prefix.startswith("#"):
                written = written.replace("\n", " ")
            self._block(self._prefix + written, tight=self._tight)
            self._prefix = ""
            self._tight = False

    def _block(self, written: str, *, tight: bool) -> None:
        if self._blocks:
            self._blocks.append("\n" if tight else "\n\n")
        self._blocks.append(written)


def _is_data(table: _Element) -> bool:
    """Say whether a table holds rows of data, and not the layout of a page."""
    columns = 0
    for element in table.iterdescendants("table", "pre", "tr", *_HEADINGS):
        if element.tag != "tr":
            return False
        columns = max(columns, len(element))
    return columns > 1


def _content(element: _Element) -> str:
    """Return all text under an element, with line breaks where <br> stands."""
    for line_break in element.iter("br"):
        line_break.tail = "\n" + (line_break.tail or "")
    return "".join(str(piece) for piece in element.itertext())


def _number(start: str | None) -> int:
    found = safe_line(start or "")
    return int(found) if found.isascii() and found.isdigit() and len(found) < 7 else 1
