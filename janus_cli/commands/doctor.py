"""janus doctor: check this installation, with a cure for each finding."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from janus_cli import report
from janus_cli.session import command, opened, print_json

if TYPE_CHECKING:
    from janus_core.node.doctor import Diagnosis

app = typer.Typer()

_SIGNS = {"ok": ("✓", "green"), "warn": ("▲", "yellow"), "fail": ("✗", "red")}


@app.command(
    epilog="Examples:  janus doctor   ·   janus doctor --repair"
    "   ·   janus doctor --thorough --json"
)
@command
def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended without losing anything.")
    ] = False,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Read every original and compare its checksum.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Check this installation; every finding says what to do about it.

    Exit codes: 0 nothing fails (there may be advice), 1 something does.
    """
    from janus_core.node.doctor import examine

    found: list[Diagnosis] = []
    with opened(up=False) as janus:
        for finding in examine(janus, repair=repair, verify_objects=thorough):
            found.append(finding)
            if not json_output:
                _show(finding)
    failed = [each for each in found if each.state == "fail" and not each.repaired]
    if json_output:
        print_json({"healthy": not failed, "findings": [asdict(each) for each in found]})
    return report.exit_code("failure") if failed else report.OK


def _show(finding: Diagnosis) -> None:
    sign, style = _SIGNS[finding.state]
    mended = "  mended" if finding.repaired else ""
    mark = report.paint(sign, style, sys.stdout)
    print(f"{mark} {finding.check:<9} {report.printable(finding.detail)}{mended}", flush=True)
    if finding.fix and not finding.repaired:
        print("  " + " " * 10 + report.paint(report.printable(finding.fix), "dim", sys.stdout))
