"""The drawings of the pump manual, and its cover."""

from __future__ import annotations

from collections.abc import Callable

from reportlab.graphics.shapes import (
    Circle,
    Drawing,
    Group,
    Line,
    Polygon,
    PolyLine,
    Rect,
    String,
)
from reportlab.lib import colors
from reportlab.lib.pagesizes import A5
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

INK = colors.HexColor("#1d2b36")
TEAL = colors.HexColor("#1f6f78")
WATER = colors.HexColor("#bcdde3")
STONE = colors.HexColor("#dfe3e0")
RED = colors.HexColor("#b3402a")


def _text(x: float, y: float, text: str, size: float = 7, **style: object) -> String:
    return String(x, y, text, fontName="Helvetica", fontSize=size, fillColor=INK, **style)


def _pipe(*points: float, width: float = 1.4) -> PolyLine:
    return PolyLine(list(points), strokeColor=TEAL, strokeWidth=width)


def _valve(x: float, y: float, colour: colors.Color = colors.white) -> Group:
    bow = [x - 5, y - 4, x - 5, y + 4, x + 5, y - 4, x + 5, y + 4]
    return Group(Polygon(bow, fillColor=colour, strokeColor=INK, strokeWidth=0.8))


def _pump(x: float, y: float) -> Group:
    return Group(
        Circle(x, y, 9, fillColor=colors.white, strokeColor=INK, strokeWidth=1),
        Polygon([x - 5, y + 7, x - 5, y - 7, x + 9, y], fillColor=WATER, strokeColor=INK),
    )


def schematic(width: float) -> Drawing:
    """Given the width of the text, draw tarn, pump house, rising main and header tank."""
    d = Drawing(width, 195)
    d.add(Rect(0, 62, 62, 20, fillColor=WATER, strokeColor=None))
    d.add(Polygon([0, 46, 62, 62, 62, 82, 82, 56, 82, 40, 0, 40], fillColor=STONE,
                  strokeColor=None))  # fmt: skip
    d.add(Rect(100, 26, 168, 92, fillColor=None, strokeColor=INK, strokeDashArray=[3, 2]))
    d.add(Rect(284, 150, 34, 30, fillColor=WATER, strokeColor=INK))
    d.add(_pipe(38, 66, 38, 52, 122, 52))
    d.add(_pipe(122, 36, 122, 88))
    for y, v in ((36, "V-3"), (88, "V-2")):
        d.add(_pipe(122, y, 212, y))
        d.add(_valve(134, y))
        d.add(_text(128, y + 7, v, 6))
    d.add(_pump(156, 88))
    d.add(_pump(156, 36))
    for y, n, v in ((88, "NRV-4", "V-11"), (36, "NRV-5", "V-12")):
        d.add(Polygon([175, y - 4, 175, y + 4, 183, y], fillColor=INK))
        d.add(_text(170, y + 7, n, 6))
        d.add(_valve(198, y))
        d.add(_text(193, y + 7, v, 6))
    d.add(_pipe(212, 36, 212, 88))
    d.add(_pipe(212, 62, 276, 62, 276, 170, 284, 170))
    d.add(_valve(256, 62))
    d.add(_text(251, 69, "V-6", 6))
    d.add(_pipe(226, 62, 226, 104, 236, 104, width=1))
    d.add(_valve(226, 80, RED))
    d.add(_text(233, 78, "PRV-7", 7))
    d.add(_pipe(240, 62, 240, 44, width=1))
    d.add(Rect(233, 30, 14, 14, rx=5, ry=5, fillColor=colors.white, strokeColor=INK))
    d.add(_text(217, 32, "SV-1", 6))
    d.add(_text(147, 104, "P-1"))
    d.add(_text(147, 52, "P-2"))
    d.add(Rect(33, 62, 10, 8, fillColor=colors.white, strokeColor=INK))
    d.add(_text(18, 73, "S-1"))
    d.add(_valve(76, 52))
    d.add(_text(70, 42, "V-1", 6))
    d.add(_text(102, 121, "Pump house, floor +11.0"))
    d.add(_text(0, 86, "The Tarn, +12.2"))
    d.add(_text(252, 184, "T-1, inlet +37.0"))
    d.add(_text(198, 140, "Rising main, 1,140 m", 7))
    d.add(_text(232, 101, "to the Tarn", 6))
    d.add(_text(103, 66, "VRV-7", 6))
    d.add(Circle(122, 62, 3, fillColor=colors.white, strokeColor=INK))
    return d


def curve(width: float) -> Drawing:
    """Given the width of the text, draw pressure against flow, as in Table 3."""
    d = Drawing(width, 168)
    left, bottom, wide, high = 34, 24, width - 60, 134
    points = [(0, 4.1), (0.6, 3.9), (1.2, 3.6), (1.8, 3.2), (2.4, 2.8), (3.0, 2.2)]

    def at(flow: float, bar: float) -> tuple[float, float]:
        return left + wide * flow / 3.2, bottom + high * (bar - 1.5) / 3.0

    for bar in (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5):
        _, y = at(0, bar)
        d.add(Line(left, y, left + wide, y, strokeColor=STONE, strokeWidth=0.6))
        d.add(_text(left - 5, y - 2.5, f"{bar:.1f}", textAnchor="end"))
    for flow in (0, 0.6, 1.2, 1.8, 2.4, 3.0):
        x, _ = at(flow, 0)
        d.add(_text(x, bottom - 10, f"{flow:.1f}", textAnchor="middle"))
    d.add(PolyLine([c for p in points for c in at(*p)], strokeColor=TEAL, strokeWidth=1.8))
    x, y = at(2.4, 2.8)
    d.add(Circle(x, y, 3, fillColor=TEAL, strokeColor=TEAL))
    d.add(_text(x + 6, y + 4, "duty point"))
    _, y = at(0, 3.2)
    d.add(Line(left, y, left + wide, y, strokeColor=RED, strokeDashArray=[4, 2]))
    d.add(_text(left + wide, y + 4, "PRV-7 lifts, 3.2 bar", textAnchor="end"))
    d.add(_text(left + wide / 2, 2, "Flow, m³/h", textAnchor="middle"))
    d.add(_text(2, bottom + high + 4, "Pressure, bar"))
    return d


def relief(width: float) -> Drawing:
    """Given the width of the text, draw the relief valve in section."""
    d = Drawing(width, 128)
    x = width / 2 - 30
    d.add(Rect(x - 70, 10, 140, 18, fillColor=WATER, strokeColor=INK))
    d.add(Rect(x - 12, 28, 24, 18, fillColor=WATER, strokeColor=INK))
    d.add(Rect(x - 24, 46, 48, 46, fillColor=colors.white, strokeColor=INK))
    d.add(Rect(x + 24, 52, 40, 12, fillColor=colors.white, strokeColor=INK))
    d.add(Rect(x - 15, 46, 30, 5, fillColor=RED, strokeColor=INK))
    zigzag = [c for i in range(9) for c in (x + (9 if i % 2 else -9), 52 + i * 4.4)]
    d.add(PolyLine(zigzag, strokeColor=INK, strokeWidth=1.1))
    d.add(Rect(x - 5, 88, 10, 14, fillColor=STONE, strokeColor=INK))
    d.add(Rect(x - 14, 98, 28, 20, rx=4, ry=4, fillColor=None, strokeColor=INK))
    for y, tx, label in (
        (110, 18, "cap, sealed with wire"),
        (95, 9, "set screw"),
        (74, 26, "spring"),
        (48, 18, "disc and seat"),
    ):
        d.add(Line(x + tx, y, x + 82, y, strokeColor=INK, strokeWidth=0.4))
        d.add(_text(x + 85, y - 2.5, label))
    d.add(_text(x + 68, 61, "outlet to the Tarn", 6.5))
    d.add(_text(x - 60, 16, "discharge header"))
    return d


def panel(width: float) -> Drawing:
    """Given the width of the text, draw the front of the control panel."""
    d = Drawing(width, 150)
    x = width / 2 - 95
    d.add(Rect(x, 4, 190, 142, rx=6, ry=6, fillColor=STONE, strokeColor=INK, strokeWidth=1.2))
    d.add(Rect(x + 14, 98, 100, 36, fillColor=colors.HexColor("#cfe3c8"), strokeColor=INK))
    d.add(String(x + 20, 120, "T-1 11.4 m³  P-1", fontName="Courier", fontSize=8.5))
    d.add(String(x + 20, 106, "2.80 bar 2.4 m³/h", fontName="Courier", fontSize=8.5))
    for i, label in enumerate(("RUN", "WIND", "FAULT")):
        lamp = (TEAL, colors.HexColor("#d9b504"), RED)[i]
        d.add(Circle(x + 136, 128 - i * 14, 4, fillColor=lamp, strokeColor=INK))
        d.add(_text(x + 145, 125.5 - i * 14, label))
    for cx, title, marks in ((44, "CONTROL", "OFF  HAND  AUTO"), (112, "PUMP", "P-1     P-2")):
        d.add(Circle(x + cx, 50, 15, fillColor=colors.white, strokeColor=INK))
        d.add(Line(x + cx, 50, x + cx + 8, 61, strokeColor=INK, strokeWidth=2.4))
        d.add(_text(x + cx, 71, marks, 6.5, textAnchor="middle"))
        d.add(_text(x + cx, 24, title, 7, textAnchor="middle"))
    d.add(Circle(x + 162, 58, 13, fillColor=RED, strokeColor=INK))
    d.add(_text(x + 162, 24, "STOP", textAnchor="middle"))
    d.add(Circle(x + 162, 36, 4, fillColor=colors.grey, strokeColor=INK))
    d.add(_text(x + 24, 12, "LCP-1", 6))
    return d


def coupling(width: float) -> Drawing:
    """Given the width of the text, draw where the coupling is measured."""
    d = Drawing(width, 92)
    x = width / 2
    d.add(Rect(x - 110, 40, 60, 14, fillColor=STONE, strokeColor=INK))
    d.add(Rect(x + 50, 43, 60, 14, fillColor=STONE, strokeColor=INK))
    d.add(Rect(x - 50, 20, 44, 54, fillColor=colors.white, strokeColor=INK))
    d.add(Rect(x + 6, 23, 44, 54, fillColor=colors.white, strokeColor=INK))
    d.add(Rect(x - 6, 26, 12, 46, fillColor=colors.HexColor("#e38b2c"), strokeColor=INK))
    for y in (26, 72):
        d.add(Line(x, y - 3, x, y + 3, strokeColor=RED, strokeWidth=2))
    d.add(_text(x, 82, "B", textAnchor="middle"))
    d.add(_text(x, 8, "B", textAnchor="middle"))
    d.add(Line(x + 58, 74, x + 58, 77, strokeColor=RED, strokeWidth=2))
    d.add(_text(x + 64, 72, "A"))
    d.add(_text(x - 108, 60, "pump shaft"))
    d.add(_text(x + 64, 32, "motor shaft"))
    return d


FIGURES: dict[str, Callable[[float], Drawing]] = {
    "schematic": schematic,
    "curve": curve,
    "relief": relief,
    "panel": panel,
    "coupling": coupling,
}


def cover(canvas: Canvas, _: object) -> None:
    """Given the first page, draw the cover on it."""
    width, height = A5
    canvas.setFillColor(TEAL)
    canvas.rect(0, height * 0.42, width, height * 0.58, stroke=0, fill=1)
    canvas.setFillColor(colors.HexColor("#2b8490"))
    canvas.circle(width * 0.78, height * 0.72, 34 * mm, stroke=0, fill=1)
    canvas.setFillColor(colors.HexColor("#17545b"))
    hill = canvas.beginPath()
    hill.moveTo(0, height * 0.42)
    for x, y in ((0.18, 0.50), (0.34, 0.47), (0.62, 0.63), (0.80, 0.55), (1.0, 0.42)):
        hill.lineTo(width * x, height * y)
    hill.close()
    canvas.drawPath(hill, stroke=0, fill=1)
    canvas.setFillColor(colors.white)
    canvas.rect(width * 0.605, height * 0.625, 7 * mm, 5 * mm, stroke=0, fill=1)
    canvas.setFont("Helvetica-Bold", 34)
    canvas.drawString(17 * mm, height - 34 * mm, "LP-40")
    canvas.setFont("Helvetica", 15)
    canvas.drawString(17 * mm, height - 43 * mm, "Lift pump set")
    canvas.setFillColor(INK)
    canvas.setFont("Helvetica-Bold", 13)
    canvas.drawString(17 * mm, height * 0.42 - 14 * mm, "Operation and Maintenance Manual")
    canvas.setFont("Helvetica", 10)
    for i, line in enumerate((
        "Station edition for Skarrow Field Station",
        "Document AV-M-4005",
        "Issue 5, November 2024",
    )):  # fmt: skip
        canvas.drawString(17 * mm, height * 0.42 - (22 + 6 * i) * mm, line)
    canvas.setFont("Helvetica-Bold", 10)
    canvas.drawString(17 * mm, 16 * mm, "ARDVANE PUMP WORKS")
