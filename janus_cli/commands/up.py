"""janus up: bring the stack up."""

from __future__ import annotations

from typing import Annotated

import typer

from janus_cli import report
from janus_cli.render.live import sink_for
from janus_cli.session import command, print_json

app = typer.Typer()


@app.command(
    epilog="Examples:  janus up   ·   janus up --json   ·   JANUS_HOME=/mnt/usb/janus janus up"
)
@command
def up(
    profile: Annotated[
        str | None, typer.Option(help="embedded or external; the first `up` decides and keeps it.")
    ] = None,
    at_boot: Annotated[
        bool, typer.Option("--at-boot", help="Also install a systemd unit that does it at boot.")
    ] = False,
    stay: Annotated[
        bool, typer.Option("--stay", help="Stay until the daemon ends; a signal takes it down.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="NDJSON events.")] = False,
) -> int:
    """Bring the stack up; quick when it is up already."""
    import time

    from janus_core.app import open_janus
    from janus_core.node.boot import install_unit
    from janus_core.node.profile import bring_up, stay_up

    began = time.monotonic()
    with open_janus() as janus:
        outcome = bring_up(janus, profile, sink_for(json_output))
        unit = install_unit() if at_boot else None
    took_ms = round((time.monotonic() - began) * 1000)
    if json_output:
        print_json(
            {
                "type": "result",
                "profile": outcome.profile,
                "why": outcome.why,
                "healthy": outcome.healthy,
                "took_ms": took_ms,
                "unit": str(unit.path) if unit else None,
            }
        )
    else:
        ready = "ready" if outcome.healthy else "up, but not everything works (janus status)"
        report.say(f"{ready} in {took_ms / 1000:.1f} s · {outcome.profile}: {outcome.why}")
        if unit:
            report.say(f"at boot: {unit.path}")
            report.say(unit.advice)
    if stay:
        with open_janus() as janus:
            stay_up(janus)
        report.problem("the daemon ended", "See: janus logs worker")
        return report.exit_code("store_unavailable")
    return report.OK if outcome.healthy else report.PARTIAL
