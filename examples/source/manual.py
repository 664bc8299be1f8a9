"""Sets the pump manual: a small Markdown dialect in, an A5 booklet with page labels out.

The dialect: `# chapter` (starts a page), `## section`, `---` page break, `> warning`,
`Table: caption` before `| a | b |` rows, `1.` and `-` lists, `!figure name | caption`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import figures
from reportlab.lib import colors
from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)
from reportlab.platypus.tableofcontents import TableOfContents

TITLE = "LP-40 Lift Pump Set: Operation and Maintenance Manual"
NUMBER = "AV-M-4005, issue 5"
INK = colors.HexColor("#1d2b36")
ACCENT = colors.HexColor("#1f6f78")
PALE = colors.HexColor("#eaf1f2")
AMBER = colors.HexColor("#fff3d6")
WIDTH = A5[0] - 34 * mm

BODY = ParagraphStyle(
    "body", fontName="Times-Roman", fontSize=10.8, leading=14.4, spaceAfter=7, textColor=INK
)
CHAPTER = ParagraphStyle(
    "chapter", fontName="Helvetica-Bold", fontSize=16, leading=20, spaceAfter=9, textColor=ACCENT
)
SECTION = ParagraphStyle(
    "section",
    parent=CHAPTER,
    fontSize=11,
    leading=14,
    spaceBefore=6,
    spaceAfter=3.5,
    textColor=INK,
    keepWithNext=1,
)
CAPTION = ParagraphStyle(
    "caption", fontName="Helvetica-Oblique", fontSize=8, leading=10, spaceBefore=3, spaceAfter=4
)
TABLE_CAPTION = ParagraphStyle("table caption", parent=CAPTION, keepWithNext=1)
CELL = ParagraphStyle("cell", fontName="Helvetica", fontSize=8.8, leading=11, textColor=INK)
HEAD = ParagraphStyle("head", parent=CELL, fontName="Helvetica-Bold", textColor=colors.white)
ITEM = ParagraphStyle("item", parent=BODY, leftIndent=15, bulletIndent=1, spaceAfter=3)
WARNING = ParagraphStyle("warning", parent=BODY, spaceAfter=0, fontSize=10.2, leading=13.4)


def build(source: Path, target: Path) -> None:
    """Given the manual's text, write the PDF: cover and front matter i to vi, then 1, 2, 3 …"""
    front = source.with_name("pump-manual-front.md").read_text(encoding="utf-8")
    document = _Manual(str(target))
    contents = TableOfContents(dotsMinLevel=0)
    contents.levelStyles = [
        ParagraphStyle("toc1", parent=BODY, fontName="Helvetica-Bold", fontSize=8.2, leading=10,
                       spaceBefore=2.5, spaceAfter=0),
        ParagraphStyle("toc2", parent=BODY, fontSize=8.4, leading=9.4, leftIndent=10,
                       spaceAfter=0),
    ]  # fmt: skip
    story: list[Flowable] = [Spacer(1, 1), PageBreak()]
    for block in _flow(front):
        story.append(contents if block is _CONTENTS else block)
    story.extend([PageBreak(), *_flow(source.read_text(encoding="utf-8"))])
    document.multiBuild(story, canvasmaker=_canvas)


def _canvas(*args: object, **kwargs: object) -> Canvas:
    kwargs["invariant"] = 1
    kwargs["pageCompression"] = 1
    return Canvas(*args, **kwargs)


class _Manual(BaseDocTemplate):
    """Two kinds of page (cover, inner), and headings that report to contents and outline.

    `body_starts_after`: the number of pages before page 1: cover, issue, three of contents,
    safety.
    """

    body_starts_after = 6

    def __init__(self, path: str) -> None:
        super().__init__(
            path, pagesize=A5, title=TITLE, author="Ardvane Pump Works", subject=NUMBER,
            creator="Ardvane Technical Writing", initialFontName="Helvetica",
        )  # fmt: skip
        frame = Frame(17 * mm, 17 * mm, WIDTH, A5[1] - 36 * mm, 0, 0, 0, 0)
        self.addPageTemplates([
            PageTemplate("cover", [frame], onPage=figures.cover, autoNextPageTemplate="inner"),
            PageTemplate("inner", [frame], onPage=self._header, onPageEnd=self._footer),
        ])  # fmt: skip

    def _label(self) -> str:
        physical = self.canv.getPageNumber()
        if physical > self.body_starts_after:
            return str(physical - self.body_starts_after)
        return ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii"][physical - 1]

    def handle_documentBegin(self) -> None:  # noqa: N802 (the name is the library's)
        super().handle_documentBegin()
        self.canv.addPageLabel(0, style="ROMAN_LOWER", start=1)
        self.canv.addPageLabel(self.body_starts_after, style="ARABIC", start=1)

    def _header(self, canvas: Canvas, _: object) -> None:
        canvas.setFont("Helvetica", 7.5)
        canvas.setFillColor(ACCENT)
        canvas.drawString(17 * mm, A5[1] - 11.5 * mm, "Ardvane LP-40 lift pump set")
        canvas.drawRightString(A5[0] - 17 * mm, A5[1] - 11.5 * mm, NUMBER)
        canvas.setStrokeColor(ACCENT)
        canvas.setLineWidth(0.5)
        canvas.line(17 * mm, A5[1] - 13.5 * mm, A5[0] - 17 * mm, A5[1] - 13.5 * mm)

    def _footer(self, canvas: Canvas, _: object) -> None:
        canvas.setFont("Helvetica", 8)
        canvas.setFillColor(INK)
        canvas.drawCentredString(A5[0] / 2, 9.5 * mm, self._label())

    def afterFlowable(self, flowable: Flowable) -> None:  # noqa: N802
        name = getattr(getattr(flowable, "style", None), "name", "")
        if name not in ("chapter", "section"):
            return
        level, text, key = int(name == "section"), flowable.getPlainText(), f"h{id(flowable)}"
        self.canv.bookmarkPage(key)
        self.canv.addOutlineEntry(text, key, level, closed=True)
        if self.canv.getPageNumber() > self.body_starts_after:
            self.notify("TOCEntry", (level, text, int(self._label())))


_CONTENTS = Spacer(0, 0)
SHARE_A_PAGE = ("# Appendix B", "# How to find")


def _flow(text: str) -> Iterator[Flowable]:
    """Given text in the dialect, yield what goes on the pages."""
    first = True
    for part in re.split(r"\n\s*\n|\n(?=#)", text.strip().replace("\n---\n", "\n\n---\n\n")):
        if part.startswith("Table: "):
            caption, _, part = part[7:].partition("\n")
            yield Paragraph(caption, TABLE_CAPTION)
        if part == "---":
            yield PageBreak()
        elif part.startswith("# "):
            if not first and not part.startswith(SHARE_A_PAGE):
                yield PageBreak()
            yield Paragraph(part[2:], CHAPTER)
        elif part.startswith("## "):
            yield Paragraph(part[3:], SECTION)
        elif part.startswith("|"):
            yield from _table(part)
        elif part.startswith("> WARNING "):
            yield from _warning(part[10:])
        elif part.startswith("!contents"):
            yield _CONTENTS
        elif part.startswith("!figure "):
            name, _, legend = part[8:].partition(" | ")
            yield figures.FIGURES[name](WIDTH)
            yield Paragraph(legend, CAPTION)
        elif re.match(r"(\d+\.|-) ", part):
            yield from _items(part)
        else:
            yield Paragraph(part, BODY)
        first = False


def _items(part: str) -> Iterator[Flowable]:
    for line in part.splitlines():
        mark, _, item = line.partition(" ")
        yield Paragraph(item, ITEM, bulletText="\u2022" if mark == "-" else mark)


def _warning(text: str) -> Iterator[Flowable]:
    box = Table([[Paragraph(f"<b>Warning.</b> {text}", WARNING)]], colWidths=[WIDTH])
    box.setStyle(TableStyle([
        ("BACKGROUND", (0, 0), (-1, -1), AMBER),
        ("LINEBEFORE", (0, 0), (0, -1), 3, colors.HexColor("#d98e04")),
        ("TOPPADDING", (0, 0), (-1, -1), 4), ("BOTTOMPADDING", (0, 0), (-1, -1), 6),
    ]))  # fmt: skip
    yield box
    yield Spacer(1, 7)


def _table(part: str) -> Iterator[Flowable]:
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in part.splitlines()]
    longest = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    shares = [min(max(n, 9), 34) for n in longest]
    widths = [WIDTH * share / sum(shares) for share in shares]
    cells = [
        [Paragraph(cell, HEAD if n == 0 else CELL) for cell in row] for n, row in enumerate(rows)
    ]
    table = Table(cells, colWidths=widths, repeatRows=1)
    table.setStyle(TableStyle([
        ("BACKGROUND", (0, 0), (-1, 0), ACCENT),
        ("ROWBACKGROUNDS", (0, 1), (-1, -1), [colors.white, PALE]),
        ("LINEBELOW", (0, 0), (-1, -1), 0.3, colors.HexColor("#b8c9cc")),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 2.2), ("BOTTOMPADDING", (0, 0), (-1, -1), 2.8),
        ("LEFTPADDING", (0, 0), (-1, -1), 4), ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ]))  # fmt: skip
    yield table
    yield Spacer(1, 8)
