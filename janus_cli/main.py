"""The `janus` command. Each verb's file is imported only when the verb is used."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from janus_cli import report
from janus_core.offgrid import seal

_WrongCall: Any = typer.BadParameter.__bases__[0]
"""Typer's own UsageError, which it does not export."""

COMMANDS: dict[str, tuple[str, str]] = {
    # name: (group of the help, one line)
    "demo": ("Start", "Bring Janus up and ask it three questions about the examples."),
    "up": ("Start", "Bring the stack up; quick when it is up already."),
    "down": ("Start", "Stop everything that `up` started."),
    "status": ("Start", "Show services, queue, stores and model."),
    "doctor": ("Start", "Check this installation, with a cure for each finding."),
    "ingest": ("Documents", "Take files and folders in."),
    "docs": ("Documents", "List, show, remove and reindex documents."),
    "search": ("Questions", "Find passages."),
    "ask": ("Questions", "Get a cited, verified answer."),
    "models": ("Care", "Chat and embedding models."),
    "queue": ("Care", "Failed and quarantined jobs."),
    "journal": ("Care", "The append-only record of what happened."),
    "logs": ("Care", "What the services write."),
    "config": ("Care", "Settings and where they come from."),
    "worker": ("Care", "Do background work in the foreground, also on another host."),
}


class LazyGroup(TyperGroup):
    """Knows every verb by name and one line; loads a verb's file when it is run."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the verbs in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the named verb, loaded."""
        if cmd_name not in COMMANDS:
            return None
        verb: typer.Typer = import_module(f"janus_cli.commands.{cmd_name}").app
        loaded = get_command(verb)
        loaded.name = cmd_name
        _fit_in(loaded)
        return loaded

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the verbs by task, without loading one."""
        for group in dict.fromkeys(group for group, _ in COMMANDS.values()):
            rows = [(name, line) for name, (of, line) in COMMANDS.items() if of == group]
            with formatter.section(group):
                formatter.write_dl(rows)


def _fit_in(command: Any) -> None:
    """Make a verb and its sub-commands part of one program.

    Their help is written without Rich, which is slow to load, and only the
    whole offers completion.
    """
    command.rich_markup_mode = None
    completion = ("install_completion", "show_completion")
    command.params = [param for param in command.params if param.name not in completion]
    for inner in getattr(command, "commands", {}).values():
        _fit_in(inner)


app = typer.Typer(
    cls=LazyGroup,
    name="janus",
    help="Janus: documents in, cited answers out, on your own machine, without the internet.",
    epilog="Start with: janus up · janus ingest ~/documents · janus ask 'What …?'",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from janus_core import __version__

        print(f"janus {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    color: Annotated[
        str, typer.Option(help="auto, always or never.", metavar="WHEN", show_default=True)
    ] = "auto",
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if color not in ("auto", "always", "never"):
        raise typer.BadParameter("use auto, always or never", param_hint="--color")
    report.choose_color(color)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line, and exit with the code that scripts rely on."""
    seal()
    given = sys.argv[1:] if arguments is None else arguments
    try:
        sys.exit(app(given, standalone_mode=False))
    except _WrongCall as error:
        from janus_core.errors import InvalidInput

        if "--json" in given:
            wrong = InvalidInput(error.format_message(), "See: janus --help")
            sys.exit(report.failure(wrong, as_json=True))
        error.show()
        sys.exit(report.exit_code("invalid_input"))
    except typer.Abort:
        sys.exit(report.exit_code("interrupted"))


if __name__ == "__main__":
    main()
