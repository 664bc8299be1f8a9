"""janus journal: the append-only record of what happened."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from janus_cli import report
from janus_cli.render.text import local_time
from janus_cli.session import command, opened, print_json

if TYPE_CHECKING:
    from janus_core.stores.journal import Entry

app = typer.Typer(no_args_is_help=True, help="The append-only record of what happened.")

_LOOK_S = 0.5
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@app.command(epilog="Examples:  janus journal tail   ·   janus journal tail -f --json")
@command
def tail(
    number: Annotated[int, typer.Option("-n", min=0, help="How many of the newest.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones.")] = False,
    json_output: Json = False,
) -> None:
    """Show the newest entries, the newest last."""
    from janus_core.stores import journal

    with opened() as janus:
        newest = journal.entries(janus.database, limit=max(1, number))
        last = newest[0].id if newest else 0
        for entry in reversed(newest[:number]):
            _show(entry, json_output)
        while follow:
            for entry in journal.follow(janus.database, after_id=last):
                _show(entry, json_output)
                last = entry.id
            time.sleep(_LOOK_S)


@app.command(
    "list",
    epilog="Examples:  janus journal list --act document.removed"
    "   ·   janus journal list --about 6f5a1f0e-7d52-5a3c-9a38-3f4f6f1b0d11",
)
@command
def list_(
    act: Annotated[str, typer.Option(help="Only acts that begin so, such as document.")] = "",
    about: Annotated[
        str, typer.Option(help="Only entries with this id: a document, version, job, correlation.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 1000,
    json_output: Json = False,
) -> None:
    """List entries, the newest first."""
    from janus_core.stores import journal

    with opened() as janus:
        for entry in journal.entries(janus.database, limit=limit, act=act, about=about):
            _show(entry, json_output)


@app.command(epilog="Examples:  janus journal verify   ·   janus journal verify --json")
@command
def verify(json_output: Json = False) -> None:
    """Check that no entry was changed, removed or put in; exit 14 if one was."""
    from janus_core.stores import journal

    with opened() as janus:
        intact = journal.verify(janus.database)
    if json_output:
        print_json({"type": "result", "intact": True, "entries": intact})
    else:
        print(f"{intact} entries, the chain of hashes holds")


def _show(entry: Entry, json_output: bool) -> None:
    if json_output:
        print_json(_as_json(entry))
        return
    number = "…" if entry.seq is None else str(entry.seq)
    subject = " ".join(f"{key}={_short(value)}" for key, value in entry.subject.items())
    line = f"{number:>6}  {local_time(entry.at)}  {entry.actor}  {entry.act}  {subject}"
    print(report.printable(line), flush=True)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 36 else f"{text[:16]}…"


def _as_json(entry: Entry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "id": entry.id,
        "at": entry.at.isoformat(),
        "actor": entry.actor,
        "act": entry.act,
        "subject": dict(entry.subject),
        "correlation_id": str(entry.correlation_id),
    }
