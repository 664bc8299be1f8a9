"""janus status: services, queue, stores and models."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from janus_cli import report
from janus_cli.render.live import glyph
from janus_cli.render.text import human_bytes
from janus_cli.session import command, opened, print_json

if TYPE_CHECKING:
    from janus_core.node.health import Status

app = typer.Typer()

_EVERY_S = 2.0


@app.command(epilog="Examples:  janus status   ·   janus status --json   ·   janus status -w")
@command
def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every 2 s.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON object (with -w: one a line).")
    ] = False,
) -> int:
    """Show services, queue, stores and models.

    Exit codes: 0 everything works, 3 something does not, 69 nothing runs,
    10 `janus up` was never run here.
    """
    from janus_core.node.health import status as read_status

    with opened(up=False) as janus:
        while True:
            found = read_status(janus)
            if json_output:
                print_json(found.as_json())
            else:
                if watch and report.colored(sys.stdout):
                    print("\x1b[H\x1b[2J", end="")
                _show(found)
            if not watch:
                return _exit_code(found)
            time.sleep(_EVERY_S)


def _exit_code(found: Status) -> int:
    if found.healthy:
        return report.OK
    return report.PARTIAL if found.running else report.exit_code("store_unavailable")


def _show(found: Status) -> None:
    for service in found.services:
        detail = service.detail if service.state != "up" or not service.version else ""
        what = f"{service.version}  {detail}".strip() if service.state == "up" else service.state
        if service.state != "up" and detail:
            what += f": {detail}"
        took = f"{service.latency_ms} ms" if service.state == "up" else ""
        mark = glyph(service.state, sys.stdout)
        print(f"{mark} {service.name:<10}{service.role:<22}{took:>7}  {report.printable(what)}")
    model, stores, queue = found.model, found.stores, found.queue
    print(f"  chat      {model.name} ({model.state}) · context {model.context} · {found.device}")
    print(f"  embeds    {model.embeddings or 'no model'} ({model.embeddings_state})")
    if found.running:
        print(
            f"  stores    {stores['documents']} documents · {stores['chunks']} chunks"
            f" · {stores['vectors']} vectors · {stores['objects']} objects"
            f" · {human_bytes(stores['bytes'])}"
        )
        print("  queue     " + " · ".join(f"{number} {name}" for name, number in queue.items()))
    last = found.backup["last"]
    print(f"  backup    {last or 'none yet'}")
    for trouble in found.trouble:
        report.problem(trouble["message"], trouble["hint"])
    if not found.running:
        report.problem("nothing runs", "Run: janus up")
    elif not found.healthy:
        report.problem("not everything works", "See: janus doctor · janus logs")
