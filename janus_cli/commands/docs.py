"""janus docs: list, show, remove and reindex documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from janus_cli import report
from janus_cli.render.live import ProgressLine, ndjson
from janus_cli.render.text import human_bytes, local_time, table
from janus_cli.session import command, confirmed, opened, print_json

if TYPE_CHECKING:
    from janus_core.app import Janus
    from janus_core.events import Event
    from janus_core.ingestion.inspect import References
    from janus_core.queue.jobs import JobRow
    from janus_core.stores.catalogue import DocumentRow

app = typer.Typer(no_args_is_help=True, help="List, show, remove and reindex documents.")

_WAIT_S = 60.0
_WAIT_ELSEWHERE_S = 5.0
"""Without a worker on this machine, one on another may still do it."""
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@app.command(
    "list",
    epilog="Examples:  janus docs list   ·   janus docs list -c manuals --tag site=north"
    "   ·   janus docs list --json",
)
@command
def list_(
    collection: Annotated[
        list[str] | None, typer.Option("--collection", "-c", help="Only these; repeatable.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="key=value that must be there.")] = None,
    not_tag: Annotated[list[str] | None, typer.Option(help="key=value that must not.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 1000,
    json_output: Json = False,
) -> None:
    """List documents by collection and source."""
    from janus_core.documents import Filter, parse_tags
    from janus_core.stores import catalogue

    where = Filter(frozenset(collection or ()), parse_tags(tag or []), parse_tags(not_tag or []))
    with opened() as janus, janus.database.transaction() as tx:
        catalogue.require_collections(tx, where.collections)
        rows = catalogue.documents(tx, where, limit=limit + 1)
    more, rows = len(rows) > limit, rows[:limit]
    if json_output:
        print_json({"documents": [_as_json(row) for row in rows], "more": more})
        return
    table(
        (
            str(row.id)[:8],
            row.state,
            row.collection,
            f"{row.pages} p",
            f"{row.chunks} chunks",
            human_bytes(row.size),
            row.reason or row.title or row.uri.rsplit("/", 1)[-1],
            row.uri,
        )
        for row in rows
    )
    if not rows:
        report.say("no documents; take some in: janus ingest ~/documents")
    if more:
        report.say(f"there are more than {limit}: janus docs list --limit N")


@app.command(
    epilog="Examples:  janus docs show 6f5a1f0e   ·   janus docs show file:///home/ada/manual.pdf"
    "   ·   janus docs show 6f5a1f0e --chunks --json"
)
@command
def show(
    document: Annotated[
        str, typer.Argument(help="Its id, the first 8 characters of it, or its URI.")
    ],
    pages: Annotated[bool, typer.Option("--pages", help="With the text of each page.")] = False,
    chunks: Annotated[bool, typer.Option("--chunks", help="With each chunk.")] = False,
    json_output: Json = False,
) -> None:
    """Show a document and what every store holds of it: pages, chunks, vectors, original."""
    from janus_core.ingestion.inspect import walk_references

    with opened() as janus:
        index = janus.embedder.name
        found = walk_references(
            janus.database,
            janus.objects,
            janus.vectors,
            index,
            document,
            pages=pages,
            chunks=chunks,
        )
    if json_output:
        print_json(_references_as_json(found, pages=pages, chunks=chunks))
    else:
        _show(found)


@app.command(
    epilog="Examples:  janus docs rm 6f5a1f0e --dry-run   ·   janus docs rm 6f5a1f0e 77c2d1aa --yes"
)
@command
def rm(
    documents: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Ids, beginnings of them, or URIs.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the end.")] = False,
    json_output: Json = False,
) -> int:
    """Remove documents from every store, without a trace.

    They cannot be found from the moment the command has accepted them; their
    data is gone when it returns.
    """
    import uuid

    from janus_core.ingestion.remove import request_removal
    from janus_core.stores import catalogue

    with opened() as janus:
        with janus.database.transaction() as tx:
            rows = {row.id: row for row in (catalogue.find_document(tx, d) for d in documents)}
        if not json_output:
            for row in rows.values():
                name = report.printable(row.title or row.uri)
                print(f"{str(row.id)[:8]}  {name}  {row.pages} pages · {row.chunks} chunks")
        if dry_run:
            if json_output:
                print_json({"type": "plan", "delete": [_as_json(r) for r in rows.values()]})
            return report.OK
        if not confirmed(f"Remove {len(rows)} documents for good?", yes=yes):
            report.say("nothing was removed")
            return report.exit_code("failure")
        correlation_id = uuid.uuid4()
        for identity in rows:
            request_removal(janus.database, identity, correlation_id)
        left = [] if no_wait else _await_removal(janus, list(rows))
    if json_output:
        print_json(
            {
                "type": "result",
                "removed": [str(i) for i in rows if i not in left and not no_wait],
                "hidden": [str(i) for i in (rows if no_wait else left)],
            }
        )
    elif left:
        report.problem(
            f"{len(left)} documents are hidden, but their data is still there",
            "A worker removes it as soon as one runs: janus status, janus up.",
        )
    return report.PARTIAL if left else report.OK


@app.command(epilog="Examples:  janus docs reindex   ·   janus docs reindex --model bge-small")
@command
def reindex(
    model: Annotated[
        str | None, typer.Option(help="An embedding model to change to; see `janus models list`.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="NDJSON events, then the result.")
    ] = False,
) -> int:
    """Index every document anew with the embedding model in use, or change to another.

    Nothing is parsed again. Until it is done, some documents are found by their
    words only. Interrupted, it goes on in the background; run it again to wait
    for the end and to delete the old index.
    """
    import uuid

    from janus_core.errors import InvalidInput
    from janus_core.ingestion.follow import Follower
    from janus_core.ingestion.reindex import drop_retired, queue_reindex
    from janus_core.node.choose import find, use

    if model is not None:
        with opened() as janus:
            if not hasattr(find(janus, model), "dim"):
                raise InvalidInput(f"{model} is no embedding model", "See: janus models list")
            use(janus, model, reindexing=True)
    with opened() as janus:
        index = janus.embedder.name
        progress = _Reindexing(json_output)
        with Follower(janus.database, janus.live, progress.on_event) as follower:
            for job, _ in queue_reindex(janus.database, index, uuid.uuid4()):
                progress.add(job)
                follower.add(job)
            for row in follower.wait(progress.jobs):
                progress.on_over(row)
        dropped = drop_retired(janus.database, janus.vectors)
    progress.show(index, dropped)
    return report.PARTIAL if progress.failed else report.OK


class _Reindexing:
    """Counts documents as they are indexed anew."""

    def __init__(self, json_output: bool) -> None:
        self.jobs: list[Any] = []
        self.failed: list[dict[str, str]] = []
        self._done = 0
        self._json = json_output
        self._line = ProgressLine(lambda: f"{self._done}/{len(self.jobs)} documents")

    def add(self, job: Any) -> None:
        """Count a document to be done."""
        self.jobs.append(job)
        self._line.update()

    def on_event(self, event: Event) -> None:
        """Pass an event on to scripts."""
        if self._json:
            ndjson(event)

    def on_over(self, row: JobRow) -> None:
        """Count a document that is done."""
        self._done += 1
        if row.state != "done":
            self.failed.append({"uri": row.uri, "reason": row.reason, "hint": row.hint})
            if not self._json:
                self._line.clear()
                report.problem(f"{row.uri}: {row.reason}", row.hint)
        self._line.update()

    def show(self, index: str, dropped: list[str]) -> None:
        """Print the result."""
        self._line.clear()
        if self._json:
            print_json(
                {
                    "type": "result",
                    "index": index,
                    "documents": len(self.jobs),
                    "failed": self.failed,
                    "dropped": dropped,
                }
            )
            return
        print(f"{len(self.jobs) - len(self.failed)} documents indexed with {index}")
        if dropped:
            report.say(f"deleted the older index: {', '.join(dropped)}")


def _await_removal(janus: Janus, documents: list[Any]) -> list[Any]:
    """Wait until the documents are gone; return those that are not in good time."""
    import time

    from janus_core.ingestion.remove import still_there
    from janus_core.node.profile import workers_run

    deadline = time.monotonic() + (_WAIT_S if workers_run(janus) else _WAIT_ELSEWHERE_S)
    while left := still_there(janus.database, documents):
        if time.monotonic() > deadline:
            return left
        time.sleep(0.1)
    return []


def _as_json(row: DocumentRow) -> dict[str, Any]:
    return {
        "document_id": str(row.id),
        "collection": row.collection,
        "uri": row.uri,
        "title": row.title,
        "state": row.state,
        "visible": row.visible,
        "tags": dict(row.tags),
        "pages": row.pages,
        "chunks": row.chunks,
        "bytes": row.size,
        "media_type": row.media_type,
        "sha256": row.sha256,
        "updated_at": row.updated_at.isoformat(),
        "reason": row.reason,
        "hint": row.hint,
    }


def _references_as_json(found: References, *, pages: bool, chunks: bool) -> dict[str, Any]:
    row = found.document
    value = _as_json(row) | {
        "version_id": str(row.version_id) if row.version_id else None,
        "object": {"key": row.object_key, "present": found.object_present},
        "coverage": dict(row.coverage),
        "vectors": found.vectors,
    }
    if pages:
        value["page_list"] = [
            {"page": page.number, "label": page.label, "text": page.text} for page in found.pages
        ]
    if chunks:
        value["chunk_list"] = [
            {
                "chunk_id": str(chunk.id),
                "page": chunk.page,
                "locator": chunk.locator,
                "heading": chunk.heading,
                "text": chunk.text,
            }
            for chunk in found.chunks
        ]
    return value


def _show(found: References) -> None:
    row = found.document
    ledger = row.coverage
    missing = "" if found.object_present else "  (missing)"
    facts = {
        "document": str(row.id),
        "version": str(row.version_id or "none"),
        "title": row.title,
        "source": row.uri,
        "collection": row.collection,
        "tags": ", ".join(f"{key}={value}" for key, value in sorted(row.tags.items())),
        "state": row.state + (f": {row.reason} {row.hint}" if row.reason else ""),
        "updated": local_time(row.updated_at),
        "original": f"{row.object_key}  {human_bytes(row.size)}  {row.media_type}{missing}",
        "pages": f"{ledger['pages']}, {ledger['pages_with_text']} with text"
        f", {ledger['characters']} characters",
        "chunks": str(ledger["chunks"]),
        "vectors": f"{found.vectors} of {ledger['vectors']}",
    }
    for name, value in facts.items():
        if value:
            print(f"{name:<12}{report.printable(value)}")
    for page in found.pages:
        label = f" ({page.label})" if page.label else ""
        _block(f"page {page.number}{label}", page.text)
    for chunk in found.chunks:
        _block(f"{chunk.id}  {chunk.locator or f'p. {chunk.page}'}", chunk.text)


def _block(title: str, text: str) -> None:
    import sys

    print()
    print(report.paint(report.printable(f"── {title}"), "dim", sys.stdout))
    print(report.printable(text))
