"""janus queue: failed and quarantined jobs."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer

from janus_cli import report
from janus_cli.render.text import local_time, table
from janus_cli.session import command, confirmed, opened, print_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from janus_core.queue.jobs import JobRow

app = typer.Typer(no_args_is_help=True, help="Failed and quarantined jobs.")

_OVER = ("failed", "quarantined")
_OPEN = ("queued", "running", "suspect")
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID...]", help="Ids of jobs, or beginnings of them.")
]


@app.command(
    "list", epilog="Examples:  janus queue list   ·   janus queue list --all   ·   … --json"
)
@command
def list_(
    everything: Annotated[
        bool, typer.Option("--all", help="Waiting and running ones too.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 1000,
    json_output: Json = False,
) -> None:
    """List the jobs that failed, each with its reason and what to do."""
    from janus_core.queue import jobs

    states = (*_OVER, *_OPEN) if everything else _OVER
    with opened() as janus, janus.database.transaction() as tx:
        counts, rows = jobs.counts(tx), jobs.rows(tx, states=states, limit=limit)
    if json_output:
        print_json({"queue": counts, "jobs": [_as_json(row) for row in rows]})
        return
    table(
        (
            str(row.id)[:8],
            row.state,
            row.kind,
            local_time(row.finished_at or row.created_at),
            row.uri.rsplit("/", 1)[-1],
            " ".join(part for part in (row.reason, row.hint) if part),
        )
        for row in rows
    )
    report.say(" · ".join(f"{number} {name}" for name, number in counts.items()))


@app.command(epilog="Examples:  janus queue retry   ·   janus queue retry 1b2f03aa 9c01d2e4")
@command
def retry(ids: Ids = None, json_output: Json = False) -> None:
    """Try failed jobs again: all, or the ones that are named.

    A quarantined job killed the process that ran it; it is tried again only if
    it is named.
    """
    from janus_core.queue import jobs

    with opened() as janus, janus.database.transaction() as tx:
        chosen = _named(tx, ids) if ids else jobs.rows(tx, states=("failed",), limit=1_000_000)
        queued = jobs.retry(tx, [row.id for row in chosen])
        held = 0 if ids else jobs.counts(tx)["quarantined"]
    if json_output:
        print_json({"type": "result", "queued": queued, "quarantined": held})
        return
    print(f"{queued} jobs queued again")
    if held:
        report.say(f"{held} quarantined jobs were left alone; name those that you mean")


@app.command(
    epilog="Examples:  janus queue drop 1b2f03aa --dry-run   ·   janus queue drop 1b2f03aa --yes"
)
@command
def drop(
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Ids of jobs, or beginnings of them.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    json_output: Json = False,
) -> int:
    """Give failed jobs up, with what they were about.

    A document that was never shown is removed; of one that is shown, only the
    newer version that failed.
    """
    from janus_core.ingestion.remove import give_up

    with opened() as janus:
        with janus.database.transaction() as tx:
            rows = _named(tx, ids)
        if not json_output:
            for row in rows:
                print(f"{str(row.id)[:8]}  {row.state}  {report.printable(row.uri)}")
        if dry_run:
            if json_output:
                print_json({"type": "plan", "drop": [_as_json(row) for row in rows]})
            return report.OK
        if not confirmed(f"Give {len(rows)} jobs up for good?", yes=yes):
            report.say("nothing was dropped")
            return report.exit_code("failure")
        correlation_id = uuid.uuid4()
        for row in rows:
            give_up(janus.database, row.id, correlation_id)
    if json_output:
        print_json({"type": "result", "dropped": [str(row.id) for row in rows]})
    return report.OK


def _named(tx: Connection, names: list[str]) -> list[JobRow]:
    """Given ids or beginnings of them, return the jobs, each once."""
    from janus_core.queue import jobs

    found = (jobs.find(tx, name) for name in names)
    return list({row.id: row for row in found}.values())


def _as_json(row: JobRow) -> dict[str, Any]:
    return {
        "job_id": str(row.id),
        "kind": row.kind,
        "state": row.state,
        "document_id": str(row.document_id),
        "collection": row.collection,
        "uri": row.uri,
        "attempts": row.attempts,
        "code": row.code,
        "reason": row.reason,
        "hint": row.hint,
        "created_at": row.created_at.isoformat(),
        "finished_at": row.finished_at.isoformat() if row.finished_at else None,
    }
