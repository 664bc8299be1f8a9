"""Makes the 'scan' of the pump house log: page images with an invisible text layer.

Each page is drawn as ink on ruled paper, turned a little, lit unevenly and stored as a grey
JPEG; the text that a scanner's OCR would have read lies over it in render mode 3. In the
source, `{seen|read}` is a word that the OCR got wrong.
"""

from __future__ import annotations

import io
import math
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from reportlab.lib.pagesizes import A5
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

DOTS = 150
SCALE = DOTS / 72
SIZE = (round(A5[0] * SCALE), round(A5[1] * SCALE))
FONTS = Path("/usr/share/fonts")
PRINT = FONTS / "truetype/dejavu/DejaVuSerifCondensed.ttf"
PRINT_BOLD = FONTS / "truetype/dejavu/DejaVuSerifCondensed-Bold.ttf"
# Debian: fonts-dkg-handwriting, fonts-breip, fonts-bwht, fonts-dancingscript, fonts-kristi
HANDS = {
    "mara": (FONTS / "truetype/fifthhorseman/dkg.ttf", 26),
    "tunde": (FONTS / "truetype/breip/Breip.ttf", 27),
    "linnea": (FONTS / "opentype/bwht/BecauseWeOrganize-Regular.otf", 23),
    "joao": (FONTS / "opentype/dancingscript/DancingScript-Regular.otf", 26),
}
SIGNATURES = {
    "M. Okoye": (FONTS / "truetype/fifthhorseman/dkgBI.ttf", 38),
    "T. Okoye": (FONTS / "opentype/dancingscript/DancingScript-Bold.otf", 40),
}
ANY_SIGNATURE = (FONTS / "truetype/kristi/Kristi.ttf", 52)
LEFT, PITCH = 62, 45


@dataclass
class _Sheet:
    """A page in the making: its ink, and what an OCR would read where."""

    seed: int
    ink: Image.Image = field(default_factory=lambda: Image.new("L", SIZE, 255))
    words: list[tuple[float, float, float, str]] = field(default_factory=list)
    y: float = 0

    def write(self, x: float, y: float, text: str, font: Path, size: int, grey: int = 40) -> float:
        """Given a place in pixels, write the text there and return where it ends."""
        seen = re.sub(r"\{(.*?)\|(.*?)\}", r"\1", text)
        face = ImageFont.truetype(str(font), size)
        ImageDraw.Draw(self.ink).text((x, y), seen, font=face, fill=grey, anchor="ls")
        width = face.getlength(seen)
        self.words.append((x, y, width, re.sub(r"\{(.*?)\|(.*?)\}", r"\2", text)))
        return x + width


def build(source: Path, target: Path) -> None:
    """Given the text of the log, write the scanned PDF."""
    canvas = Canvas(str(target), pagesize=A5, invariant=1, pageCompression=1)
    canvas.setTitle("Pump house log, book 14")
    canvas.setCreator("Station scanner")
    pages = re.split(r"(?m)^page ", source.read_text(encoding="utf-8"))[1:]
    for number, page in enumerate(pages):
        sheet = _draw(page.splitlines(), seed=number + 14)
        _place(canvas, sheet)
    canvas.save()


def _draw(lines: list[str], seed: int) -> _Sheet:
    sheet, dice = _Sheet(seed), random.Random(seed)
    pen = ImageDraw.Draw(sheet.ink)
    sheet.write(LEFT, 84, "SKARROW FIELD STATION", PRINT_BOLD, 21, 70)
    sheet.write(SIZE[0] - 130, 84, f"Page {lines[0]}", PRINT, 20, 70)
    sheet.write(LEFT, 110, "Pump house log  ·  Book 14", PRINT, 19, 70)
    pen.line((LEFT, 122, SIZE[0] - 50, 122), fill=90, width=3)
    for y in range(160, SIZE[1] - 60, PITCH):
        pen.line((LEFT, y, SIZE[0] - 50, y), fill=205, width=1)
    sheet.y = 160
    hand = HANDS["mara"]
    for line in lines[1:]:
        kind, _, rest = line.partition(" ")
        if kind == "entry":
            date, hours, who = rest.split(" | ")
            hand = HANDS[who]
            sheet.y += 6 if sheet.y == 160 else PITCH * 1.3
            sheet.write(LEFT, sheet.y - 5, "Date:", PRINT, 18, 90)
            sheet.write(LEFT + 60, sheet.y - 5, date, *hand)
            sheet.write(LEFT + 350, sheet.y - 5, "Hours:", PRINT, 18, 90)
            sheet.write(LEFT + 425, sheet.y - 5, hours, *hand)
            sheet.y += PITCH
        elif kind == "sign":
            _sign(sheet, *rest.split(" | "))
        elif kind == "sketch":
            _sketch(pen, sheet, hand)
        elif kind == "coffee":
            for radius in (112, 115, 117, 124):
                box = (560 - radius, 1010 - radius, 562 + radius, 1006 + radius)
                pen.arc(box, 3 * radius, 3 * radius + 250 + radius % 7 * 12, fill=212, width=3)
        else:
            x, y = LEFT + dice.uniform(0, 7), sheet.y - 6 + dice.uniform(-2, 2)
            sheet.write(x, y, line, *hand, grey=dice.randint(30, 60))
            sheet.y += PITCH
    return sheet


def _sign(sheet: _Sheet, name: str, witness: str = "") -> None:
    sheet.y += 10
    sheet.write(LEFT, sheet.y, "Signed:", PRINT, 18, 90)
    sheet.write(LEFT + 85, sheet.y - 2, name, *SIGNATURES.get(name, ANY_SIGNATURE))
    if witness:
        sheet.write(LEFT + 380, sheet.y, "Witness:", PRINT, 18, 90)
        sheet.write(LEFT + 475, sheet.y - 2, witness, *SIGNATURES.get(witness, ANY_SIGNATURE))
    sheet.y += 16


def _sketch(pen: ImageDraw.ImageDraw, sheet: _Sheet, hand: tuple[Path, int]) -> None:
    x, y = 250, sheet.y + 150
    pen.rectangle((x, y, x + 330, y + 90), outline=60, width=3)
    for i, label in enumerate(("12", "13", "14", "15", "16")):
        cx = x + 40 + i * 62
        pen.ellipse((cx - 14, y + 30, cx + 14, y + 58), outline=60, width=3)
        sheet.write(cx - 14, y + 84, label, *hand)
    pen.arc((x + 164, y - 50, x + 226, y + 80), 180, 360, fill=40, width=5)
    sheet.write(x + 240, y - 22, "link!", *hand)
    sheet.write(x - 90, y + 60, "PS-3", *hand)


def _scan(sheet: _Sheet, degrees: float) -> Image.Image:
    """Given a drawn page, return it as a scanner would: turned, soft, unevenly lit, noisy."""
    noise = np.random.default_rng(sheet.seed)
    turned = sheet.ink.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=255)
    grey = np.asarray(turned.filter(ImageFilter.GaussianBlur(0.6)), dtype=np.float32)
    across = np.linspace(0, 1, SIZE[0], dtype=np.float32)[None, :]
    down = np.linspace(0, 1, SIZE[1], dtype=np.float32)[:, None]
    light = 0.955 - 0.05 * down - 0.16 * np.exp(-across * 26)
    grey = grey * light + noise.normal(0, 1.6, grey.shape).astype(np.float32)
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8), "L")


def _place(canvas: Canvas, sheet: _Sheet) -> None:
    degrees = random.Random(sheet.seed * 7).uniform(0.5, 1.3) * (-1) ** sheet.seed
    jpeg = io.BytesIO()
    _scan(sheet, degrees).save(jpeg, "JPEG", quality=52, dpi=(DOTS, DOTS))
    canvas.drawImage(ImageReader(jpeg), 0, 0, *A5)
    turn = math.radians(degrees)
    middle = (SIZE[0] / 2, SIZE[1] / 2)
    for x, y, width, read in sheet.words:
        dx, dy = x - middle[0], middle[1] - y
        px = (middle[0] + dx * math.cos(turn) - dy * math.sin(turn)) / SCALE
        py = (SIZE[1] - middle[1] + dx * math.sin(turn) + dy * math.cos(turn)) / SCALE
        canvas.saveState()
        canvas.translate(px, py)
        canvas.rotate(degrees)
        text = canvas.beginText(0, 0)
        text.setTextRenderMode(3)
        text.setFont("Helvetica", 10)
        text.setHorizScale(100 * width / SCALE / stringWidth(read, "Helvetica", 10))
        text.textOut(read)
        canvas.drawText(text)
        canvas.restoreState()
    canvas.showPage()
