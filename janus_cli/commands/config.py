"""janus config: settings and where they come from."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from janus_cli import report
from janus_cli.render.text import table
from janus_cli.session import command, opened, print_json

app = typer.Typer(no_args_is_help=True, help="Settings and where they come from.")

Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@app.command(epilog="Examples:  janus config show   ·   janus config show chat   ·   … --json")
@command
def show(
    name: Annotated[str, typer.Argument(help="Only settings whose name has this in it.")] = "",
    json_output: Json = False,
) -> None:
    """Show every setting with its value and its origin; passwords are left out."""
    from janus_core.errors import NotFound
    from janus_core.node.configure import shown
    from janus_core.settings import flat

    with opened(up=False) as janus:
        rows = [
            {"name": key, "value": shown(value), "origin": janus.loaded.origin(key)}
            for key, value in flat(janus.settings)
            if name in key
        ]
    if not rows:
        raise NotFound(f"no such setting: {name}", "See: janus config show")
    if json_output:
        print_json({"settings": rows})
    else:
        table((str(r["name"]), _text(r["value"]), str(r["origin"])) for r in rows)


@app.command(epilog="Examples:  janus config path   ·   $EDITOR $(janus config path --settings)")
@command
def path(
    settings: Annotated[
        bool, typer.Option("--settings", help="Only the file of your settings.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Show where this installation keeps its files."""
    from janus_core.locations import locate

    places = locate()
    found = {
        "settings": places.settings_file,
        "config": places.config,
        "data": places.data,
        "state": places.state,
        "logs": places.logs,
        "models": places.models,
        "runtime": places.runtime,
    }
    if json_output:
        print_json({key: str(value) for key, value in found.items()})
    elif settings:
        print(places.settings_file)
    else:
        table((key, str(value)) for key, value in found.items())


@app.command(epilog="Examples:  janus config validate && janus up")
@command
def validate(json_output: Json = False) -> None:
    """Check all settings; exit 78 naming the file or variable that is wrong."""
    with opened(up=False) as janus:
        origins = sorted(set(janus.loaded.origins.values()))
    if json_output:
        print_json({"type": "result", "valid": True, "origins": origins})
    else:
        print(f"the settings are valid ({', '.join(origins) or 'all defaults'})")


@app.command(
    "set",
    epilog="Examples:  janus config set chat.context 8192   ·   janus config set chat.gpu --unset"
    "   ·   janus config set stores.relational - < url.txt",
)
@command
def set_(
    name: Annotated[str, typer.Argument(help="Such as chat.context; see `janus config show`.")],
    value: Annotated[
        str | None, typer.Argument(help="The new value, or - to read it from standard input.")
    ] = None,
    unset: Annotated[bool, typer.Option("--unset", help="Back to the default.")] = False,
    json_output: Json = False,
) -> None:
    """Change one of your own settings; all of them are checked before it is written.

    Give passwords through standard input: arguments are seen by other users.
    """
    from janus_core.errors import InvalidInput
    from janus_core.node.configure import overridden_by, set_value, shown
    from janus_core.node.profile import daemon_runs
    from janus_core.settings import flat

    if unset == (value is not None):
        raise InvalidInput("give a value or --unset", "Example: janus config set chat.context 8192")
    text = sys.stdin.read().strip() if value == "-" else value
    with opened(up=False) as janus:
        written = set_value(janus, name, text)
        running = daemon_runs(janus)
    with opened(up=False) as janus:
        now = shown(dict(flat(janus.settings))[name])
        hidden_by = overridden_by(janus, name)
    if json_output:
        print_json({"name": name, "value": now, "file": str(written), "restart": running})
        return
    print(f"{name} = {_text(now)}")
    if hidden_by:
        report.say(f"▲ {hidden_by} stands above the file and decides")
    if running:
        report.say("what runs takes it over at the next: janus down && janus up")


def _text(value: object) -> str:
    if value is None:
        return "—"
    return ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)
