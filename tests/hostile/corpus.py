"""Hostile and broken files, made by code: nothing dangerous lies in the repository.

`corpus()` gives some 300 of them as (name, content, expectation), where the
expectation is a word of the reason, `None` where any clear reason will do, or
`READ` where the text must come out. `python tests/hostile/corpus.py FOLDER` writes them.
"""

from __future__ import annotations

import codecs
import io
import random
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

READ = "is read"
MARK = "kestrel"  # stands in every file whose text must come out


def pdf(
    pages: Sequence[str],
    *,
    title: str = "",
    labels: str = "",
    forms: Sequence[str] = (),
    encrypt: bool = False,
) -> bytes:
    """Given the text of each page, return a PDF.

    `labels` is a page label dictionary's content; `forms` are content streams of form
    objects F0, F1, … that any content may draw; a page beginning with `/` or `BT` is
    taken as a content stream itself.
    """
    objects: list[bytes] = []

    def add(body: bytes | str) -> int:
        objects.append(body if isinstance(body, bytes) else body.encode("latin-1"))
        return len(objects)

    def stream(content: str, entries: str = "") -> int:
        data = zlib.compress(content.encode("latin-1"))
        head = f"<< {entries} /Filter /FlateDecode /Length {len(data)} >>\nstream\n"
        return add(head.encode() + data + b"\nendstream")

    catalog, tree, info = add(""), add(""), add(f"<< /Title ({title}) >>")
    font = add("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    first_form = len(objects) + 1
    drawn = " ".join(f"/F{i} {first_form + i} 0 R" for i in range(len(forms)))
    resources = f"<< /Font << /H {font} 0 R >> /XObject << {drawn} >> >>"
    for form in forms:
        stream(form, f"/Type /XObject /Subtype /Form /BBox [0 0 600 800] /Resources {resources}")
    kids = []
    for text in pages:
        lines = "".join(f"({line}) ' " for line in text.split("\n")) if text else ""
        raw = text.startswith(("/", "BT"))
        content = stream(text if raw else f"BT /H 12 Tf 14 TL 50 780 Td {lines} ET")
        kids.append(
            add(
                f"<< /Type /Page /Parent {tree} 0 R /MediaBox [0 0 600 800] "
                f"/Resources {resources} /Contents {content} 0 R >>"
            )
        )
    objects[tree - 1] = (
        f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] >>"
    ).encode()
    named = f"/PageLabels << /Nums [{labels}] >>" if labels else ""
    objects[catalog - 1] = f"<< /Type /Catalog /Pages {tree} 0 R {named} >>".encode()
    locked = ""
    if encrypt:
        lock = add(
            f"<< /Filter /Standard /V 1 /R 2 /Length 40 /P -4 /O <{'41' * 32}> /U <{'42' * 32}> >>"
        )
        locked = f"/Encrypt {lock} 0 R /ID [<{'43' * 16}> <{'43' * 16}>]"
    out, places = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010} 00000 n \n".encode() for place in places)
    out += (
        f"trailer << /Size {len(objects) + 1} /Root {catalog} 0 R /Info {info} 0 R {locked} >>\n"
        f"startxref\n{table}\n%%EOF\n"
    ).encode()
    return bytes(out)


def form_bomb(depth: int = 12, width: int = 10) -> bytes:
    """Return a small PDF whose forms draw one another `width` times, `depth` levels deep."""
    forms = [f"/F{level + 1} Do " * width for level in range(depth)] + ["BT /H 9 Tf (x) Tj ET"]
    return pdf(["/F0 Do"], forms=forms)


def flate_bomb(megabytes: int = 900) -> bytes:
    """Return a PDF whose only page unpacks to so many megabytes of drawing operators."""
    return pdf(["BT /H 9 Tf " + "(x) Tj " * (megabytes * 1_000_000 // 7) + "ET"])


def tag_bomb(tags: int = 9_000_000) -> bytes:
    """Return an HTML file of so many paragraphs: small to store, large as a tree."""
    return b"<html><body>" + b"<p>a" * tags


def corpus(seed: int = 15) -> Iterator[tuple[str, bytes, str | None]]:
    """Return the files; the same for the same seed."""
    rng = random.Random(seed)
    yield from _texts()
    yield from _foreign()
    yield from _html()
    yield from _pdf(rng)
    whole = pdf([f"The {MARK} hovers, page {number}" for number in range(1, 6)])
    page = f"<html><body><h1>{MARK}</h1><table><tr><td>a<td>b</table></body></html>".encode()
    for place in range(60):
        yield f"cut-{place}.pdf", whole[: len(whole) * (place + 1) // 61], None
    for flip in range(100):
        yield f"flipped-{flip}.pdf", _flipped(whole, rng, 1 + flip % 8), None
    for flip in range(40):
        yield f"flipped-{flip}.html", _flipped(page, rng, 1 + flip % 6), None
    for noise in range(20):
        yield f"noise-{noise}.{('pdf', 'html', 'txt', 'md')[noise % 4]}", rng.randbytes(5000), None


def _texts() -> Iterator[tuple[str, bytes, str | None]]:
    line = f"The {MARK} hovers — «naïve» Привет 你好 "
    for codec in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"):
        yield f"{codec}.txt", (line * 20).encode(codec), READ
    for codec in ("cp1251", "koi8-r", "iso8859-5", "cp866"):
        russian = f"Съешь же ещё этих мягких французских булок, {MARK}. " * 20
        yield f"{codec}.txt", russian.encode(codec), READ
    for codec in ("latin-1", "cp1252", "shift_jis", "gb18030", "big5", "euc-kr"):
        yield f"{codec}.txt", (f"{MARK} 1234. " * 9).encode(codec) + b"\xe9\xe8", READ
    mixed = f"{MARK} café".encode() + b" caf\xe9 " + "Привет".encode()
    yield "mixed.txt", mixed * 10, READ
    yield "cut-utf8.txt", (MARK + " é").encode()[:-1], READ
    yield "surrogates.txt", f"{MARK} \ud800 \udfff".encode("utf-8", "surrogatepass"), READ
    yield "nul.txt", f"{MARK} before\0after, ten words to a zero byte. ".encode() * 50 + b"\0", READ
    yield "only-nul.txt", b"\0" * 4096, "binary"
    yield "only-bom.txt", codecs.BOM_UTF8, "no text"
    yield "spaces.txt", b" \n\t\r\n" * 100, "no text"
    yield "empty.txt", b"", "empty"
    yield "empty.pdf", b"", "empty"
    ansi = f"{MARK}\x1b[2J\x1b]0;owned\x07\x1b]8;;http://x\x1b\\link\x9b31m\x1bP+q\x1b\\ \x08\x08"
    yield "ansi.txt", ansi.encode(), READ
    yield "override.txt", f"{MARK} \u202egnp.exe \u2066 \U000e0041".encode(), READ
    yield "long-line.txt", (MARK + "x" * 3_000_000).encode(), READ
    yield "feeds.txt", (MARK + "\f" * 5000).encode(), READ
    yield "deep.md", (f"# {MARK}\n" + ">" * 100_000 + "[" * 100_000).encode(), READ
    yield "fence.md", (f"```{MARK}\n" * 20_000).encode(), READ
    yield "name\nwith\x1b[31mnewline.txt", MARK.encode(), READ


def _foreign() -> Iterator[tuple[str, bytes, str | None]]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../etc/passwd", "root")
        archive.writestr("bomb", b"\0" * 10_000_000)
    yield "bomb.zip", packed.getvalue(), "ZIP"
    yield "wrong.pdf", packed.getvalue(), "ZIP"
    yield "wrong.txt", packed.getvalue(), "ZIP"
    links = io.BytesIO()
    with tarfile.open(fileobj=links, mode="w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    yield "links.tar", links.getvalue(), "tar"
    yield "picture.txt", b"\x89PNG\r\n\x1a\n" + bytes(500), "PNG"
    yield "program.md", b"\x7fELF" + bytes(range(256)) * 8, "ELF"
    yield "old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "Office"
    yield "doc.rtf", rb"{\rtf1 hello}", "RTF"
    yield "drawing.ps", b"%!PS-Adobe-3.0\n", "PostScript"


def _html() -> Iterator[tuple[str, bytes, str | None]]:
    xxe = (
        '<?xml version="1.0"?><!DOCTYPE html [<!ENTITY x SYSTEM "file:///etc/passwd">'
        '<!ENTITY % y SYSTEM "http://127.0.0.1:9/y"> %y;]>'
        f"<html><body>{MARK} &x;</body></html>"
    )
    yield "xxe.html", xxe.encode(), READ
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    bomb = f'<!DOCTYPE html [<!ENTITY l0 "lol">{laughs}]><html><body>{MARK} &l11;</body></html>'
    yield "laughs.html", bomb.encode(), READ
    yield "deep.html", b"<html><body>" + b"<div>" * 100_000 + MARK.encode(), READ
    yield "tables.html", b"<html><body>" + b"<table><tr><td>" * 3_000 + MARK.encode(), None
    yield "lists.html", b"<html><body>" + b"<ul><li>" * 5_000 + MARK.encode(), READ
    yield "script.html", f"<html><script>{'a' * 100000}</script><p>{MARK}".encode(), READ
    yield "only-script.html", b"<html><body><script>alert(1)</script></body></html>", "no text"
    yield "attributes.html", f"<html><p {'a=1 ' * 50_000}>{MARK}</p>".encode(), READ
    yield "lying-charset.html", f'<html><meta charset="utf-7"><p>{MARK} é +ADw-'.encode(), READ
    yield "no-charset.html", f'<html><meta charset="nonsense"><p>{MARK} '.encode() + b"\xe9", READ
    yield "utf16.html", f"<html><body><p>{MARK}</p></body></html>".encode("utf-16"), READ
    yield "html-as.txt", f"<!doctype html><p>{MARK}</p>".encode(), READ
    yield "escapes.html", f"<html><p>{MARK}&#27;[2J&#x202e;&#0;</p>".encode(), READ
    yield "start.html", f"<html><ol start='{'9' * 5000}'><li>{MARK}</ol>".encode(), READ


def _pdf(rng: random.Random) -> Iterator[tuple[str, bytes, str | None]]:
    plain = pdf([f"The {MARK} hovers"])
    yield "plain.pdf", plain, READ
    yield "pdf-as.txt", plain, READ
    yield "junk-before.pdf", rng.randbytes(500) + plain, READ
    yield "encrypted.pdf", pdf([MARK], encrypt=True), "encrypted"
    yield "scan.pdf", pdf(["", "", ""]), "no text layer"
    yield "header-only.pdf", b"%PDF-1.7\n", "damaged"
    yield "no-pages.pdf", pdf([]), "damaged"
    yield "many-pages.pdf", pdf([f"{MARK} {number}" for number in range(10_000)]), READ
    yield "self-kids.pdf", plain.replace(b"/Kids [7 0 R]", b"/Kids [2 0 R]"), None
    yield "huge-count.pdf", plain.replace(b"/Count 1", b"/Count 2147483647"), None
    yield "huge-number.pdf", plain.replace(b"/Length", b"/Length 99999999999999999999"), None
    yield "label.pdf", pdf([MARK], labels="0 << /S /D /St 2147483647 >>"), READ
    yield "escape-title.pdf", pdf([MARK], title="\x1b[31mred"), READ
    yield "form-loop.pdf", pdf([f"BT /H 9 Tf ({MARK}) Tj ET /F0 Do"], forms=["/F0 Do"]), None


def _flipped(data: bytes, rng: random.Random, bits: int) -> bytes:
    damaged = bytearray(data)
    for _ in range(bits):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def main(folder: Path) -> None:
    """Write all files, the large bombs too, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    bombs = {"forms.pdf": form_bomb(), "flate.pdf": flate_bomb(), "tags.html": tag_bomb()}
    for name, content in [(name, data) for name, data, _ in corpus()] + list(bombs.items()):
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
