"""janus search: find passages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from janus_cli import report
from janus_cli.session import command, opened, print_json

if TYPE_CHECKING:
    from janus_core.answers import Hit

app = typer.Typer()


@app.command(
    epilog="Examples:  janus search 'pump pressure'   ·   janus search valve -k 3 --mode text"
    "   ·   janus search valve --tag site=north --not-tag state=draft --json"
)
@command
def search(
    query: Annotated[str, typer.Argument(help="Words or a question.", show_default=False)],
    k: Annotated[int, typer.Option("-k", help="How many passages.")] = 10,
    mode: Annotated[str, typer.Option(help="hybrid, dense or text.")] = "hybrid",
    collection: Annotated[
        list[str] | None, typer.Option("--collection", "-c", help="Only these; repeatable.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="key=value that must be there.")] = None,
    not_tag: Annotated[list[str] | None, typer.Option(help="key=value that must not.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Find passages by meaning and by words."""
    import time

    from janus_core.answers import as_mode
    from janus_core.documents import Filter, parse_tags

    where = Filter(frozenset(collection or ()), parse_tags(tag or []), parse_tags(not_tag or []))
    chosen = as_mode(mode)
    with opened(up=False) as janus:
        began = time.perf_counter()
        hits = janus.searcher.search(query, where, k, chosen)
        took_ms = round((time.perf_counter() - began) * 1000)
    if json_output:
        found = [_as_json(hit) for hit in hits]
        print_json({"query": query, "mode": mode, "took_ms": took_ms, "hits": found})
        return
    for hit in hits:
        _show(hit)
    if not hits:
        report.say("nothing found")


def _as_json(hit: Hit) -> dict[str, Any]:
    passage = hit.passage
    return {
        "rank": hit.rank,
        "score": hit.score,
        "chunk_id": str(passage.chunk_id),
        "document_id": str(passage.document_id),
        "title": passage.title,
        "uri": passage.uri,
        "page": passage.page,
        "locator": passage.locator,
        "text": passage.text,
        "why": list(hit.why),
    }


def _show(hit: Hit) -> None:
    import shutil
    import sys
    import textwrap

    passage = hit.passage
    place = " · ".join(part for part in (passage.locator, "+".join(hit.why)) if part)
    title = report.paint(report.printable(passage.title), "bold", sys.stdout)
    print(f"{hit.rank:>2}  {hit.score:.2f}  {title}  {report.printable(place)}")
    width = min(100, shutil.get_terminal_size().columns) - 4
    text = " ".join(report.printable(passage.text).split())
    print(
        textwrap.indent(textwrap.fill(textwrap.shorten(text, 300, placeholder=" …"), width), "    ")
    )
