"""HTML: all that a reader sees survives, in order; the rest does not."""

from __future__ import annotations

import io

import pytest

from janus_core.errors import UnreadableDocument
from janus_core.ingestion.extract import html
from janus_core.ingestion.extract.base import Parsed


def parse(source: str | bytes, name: str = "page.html") -> Parsed:
    data = source.encode() if isinstance(source, str) else source
    return html.parse(io.BytesIO(data), name, 1)


def read(source: str | bytes) -> str:
    return "".join(page.text for page in parse(source).pages)


def test_headings_paragraphs_and_inline_marks() -> None:
    page = "<h1>Birds</h1><p>The <b>kes</b>trel\n  hovers<br>and waits.</p>tail<h2>Food</h2>voles"
    assert read(page) == "# Birds\n\nThe kestrel hovers\nand waits.\n\ntail\n\n## Food\n\nvoles"


def test_definition_lists_keep_term_and_definition_together() -> None:
    page = "<dl><dt><code>FULL</code></dt><dd><p>Reclaims more.</p><p>Slow.</p></dd></dl>"
    assert read(page) == "FULL\nReclaims more.\n\nSlow."


def test_listings_keep_their_lines_and_are_fenced() -> None:
    page = "<p>Use:</p><pre>\nVACUUM [ <em>option</em> ]\n    # not a heading\n</pre>"
    assert read(page) == "Use:\n\n```\nVACUUM [ option ]\n    # not a heading\n```"


def test_tables_become_rows() -> None:
    page = (
        "<table><caption>Sizes</caption><tr><th>Name<th>Bytes</tr>"
        "<tr><td><p>int</p><p>whole</p></td><td>4</td></tr></table>after"
    )
    assert read(page) == "Sizes\n\n| Name | Bytes |\n| int whole | 4 |\n\nafter"


def test_tables_that_only_lay_out_a_page_are_read_as_blocks() -> None:
    page = "<table><tr><td><h1>Birds</h1><p>Text.</p></td><td>side</td></tr></table>"
    assert read(page) == "# Birds\n\nText.\n\nside"
    column = "<table><tr><td><p>f(x)</p><p>Does.</p></td></tr></table>"
    assert read(column) == "f(x)\n\nDoes."


def test_lists_are_marked_numbered_and_indented() -> None:
    page = "<ul><li>one<ol start=3><li>three<li>four</ol></li><li><p>two</p></li></ul>"
    assert read(page) == "- one\n  3. three\n  4. four\n- two"


def test_powers_do_not_become_other_numbers() -> None:
    assert read("<p>10<sup>6</sup> of H<sub>2</sub>O</p>") == "10^6 of H2O"


def test_navigation_scripts_and_hidden_text_are_left_out() -> None:
    page = (
        "<body><nav>menu</nav><div class='navheader x'>Prev</div><div role=navigation>more</div>"
        "<script>code()</script><style>p{}</style><p hidden>one</p><p style='display: none'>two</p>"
        "<!-- comment --><p>seen</p><footer>imprint</footer></body>"
    )
    assert read(page) == "seen"
    assert read("<body><nav>only a menu</nav></body>") == "only a menu"


def test_the_title_is_the_title_or_the_first_heading_or_the_name() -> None:
    assert parse("<title> A\n title </title><h1>H</h1>x").title == "A title"
    assert parse("<h1>Big <i>bird</i></h1>x").title == "Big bird"
    assert parse("<p>x", "folder/kestrel.html").title == "kestrel"


@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "iso8859-5", "utf-8-sig"])
def test_the_declared_encoding_counts_if_it_fits(codec: str) -> None:
    page = f"<html><head><meta charset='{codec}'></head><body>Привет, пустельга</body></html>"
    assert read(page.encode(codec)) == "Привет, пустельга"


def test_a_wrong_declaration_does_not_spoil_utf8() -> None:
    assert read("<meta charset=iso-8859-1><p>Привет".encode()) == "Привет"


def test_entities_of_the_document_are_never_opened() -> None:
    page = (
        '<?xml version="1.0"?><!DOCTYPE html [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        "<html><body><p>before &x; after &amp; &eacute;</p></body></html>"
    )
    assert "root:" not in read(page)
    assert read(page).endswith("before &x; after & é")


def test_nesting_of_any_depth_is_read() -> None:
    assert read("<div>" * 500 + "deep <p>kestrel") == "deep\n\nkestrel"
    parsed = parse("<div>" * 50_000 + "deep <i>kes</i>trel")
    assert [page.text for page in parsed.pages] == ["deep kestrel"]
    assert "nested too deeply" in parsed.notes[0]


def test_a_page_without_text_is_refused() -> None:
    with pytest.raises(UnreadableDocument, match="no text"):
        parse("<html><body><script>x</script></body></html>")
