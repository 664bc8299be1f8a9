"""janus models: chat and embedding models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from janus_cli import report
from janus_cli.render.text import human_bytes, table
from janus_cli.session import command, confirmed, opened, print_json

if TYPE_CHECKING:
    from janus_core.llm.models import ChatFile, EmbeddingFolder

app = typer.Typer(no_args_is_help=True, help="Chat and embedding models.")

Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
Name = Annotated[str, typer.Argument(help="A name of `janus models list`.")]


@app.command("list", epilog="Examples:  janus models list   ·   janus models list --json")
@command
def list_(json_output: Json = False) -> None:
    """List the models on this machine; * marks those in use."""
    from janus_core.node.choose import everything, in_use

    with opened(up=False) as janus:
        found, used = everything(janus), in_use(janus)
    rows = [_as_json(model) | {"in_use": model.name in used} for model in found]
    if json_output:
        print_json({"models": rows})
        return
    table(
        (
            "*" if row["in_use"] else " ",
            row["kind"],
            row["name"],
            human_bytes(row["bytes"]),
            f"context {row['context']}" if row["kind"] == "chat" else f"{row['dim']} floats",
            row["licence"] or "licence not stated",
        )
        for row in rows
    )
    if not rows:
        report.say("no models; add one: janus models add FILE.gguf")


@app.command(
    epilog="Examples:  janus models add ~/qwen3-4b-q4_k_m.gguf"
    "   ·   janus models add ~/bge-small/ --name bge-small --query-prefix 'query: '"
)
@command
def add(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="A GGUF file, or a folder with model.onnx.")
    ],
    name: Annotated[str, typer.Option(help="What to call it; default: the file's name.")] = "",
    licence: Annotated[str, typer.Option(help="Noted with it.")] = "",
    query_prefix: Annotated[
        str, typer.Option(help="Put before questions; embedding models only.")
    ] = "",
    passage_prefix: Annotated[
        str, typer.Option(help="Put before passages; embedding models only.")
    ] = "",
    json_output: Json = False,
) -> None:
    """Copy a model into the models folder, with its checksum; nothing is downloaded."""
    from janus_core.errors import NotFound
    from janus_core.llm.models import add_chat, add_embedding

    if not source.exists():
        raise NotFound(f"no such file or folder: {source}", "Give a GGUF file on this machine.")
    with opened(up=False) as janus:
        folder = janus.locations.models
        model: ChatFile | EmbeddingFolder
        if source.is_dir():
            model = add_embedding(
                folder,
                source,
                name,
                query_prefix=query_prefix,
                passage_prefix=passage_prefix,
                licence=licence,
            )
        else:
            model = add_chat(folder, source, name, licence=licence)
    if json_output:
        print_json(_as_json(model))
    else:
        print(f"added {model.name}, {human_bytes(model.size)}")
        report.say(f"Next: janus models use {model.name}")


@app.command(epilog="Examples:  janus models use qwen3-4b-q4_k_m")
@command
def use(name: Name, json_output: Json = False) -> None:
    """Choose the chat or embedding model; its server is restarted if it runs."""
    from janus_core.node.choose import use as use_model
    from janus_core.node.configure import overridden_by

    with opened(up=False) as janus:
        kind, restarted = use_model(janus, name)
    setting = "chat.model" if kind == "chat" else "embeddings.model"
    with opened(up=False) as janus:
        hidden_by = overridden_by(janus, setting)
    if json_output:
        print_json({"name": name, "kind": kind, "restarted": list(restarted)})
        return
    print(f"{kind} model: {name}")
    if restarted:
        report.say(f"restarted: {', '.join(restarted)}")
    if hidden_by:
        report.say(f"▲ {hidden_by} stands above your settings and decides")


@app.command(epilog="Examples:  janus models rm old-model --dry-run   ·   … rm old-model --yes")
@command
def rm(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    json_output: Json = False,
) -> int:
    """Delete a model that is not in use."""
    from janus_core.llm.models import remove
    from janus_core.node.choose import find, in_use

    with opened(up=False) as janus:
        model, used = find(janus, name), in_use(janus)
        if not json_output:
            print(f"{report.printable(str(model.path))}  {human_bytes(model.size)}")
        if dry_run:
            if json_output:
                print_json({"type": "plan", "delete": [_as_json(model)]})
            return report.OK
        if name not in used and not confirmed(f"Delete {name} for good?", yes=yes):
            report.say("nothing was deleted")
            return report.exit_code("failure")
        remove(janus.locations.models, name, used)
    if json_output:
        print_json({"type": "result", "deleted": name})
    return report.OK


@app.command(epilog="Examples:  janus models test smollm2-135m-instruct-q4_1   ·   … --json")
@command
def test(name: Name, json_output: Json = False) -> None:
    """Have a model do a little work, and time it."""
    from dataclasses import asdict

    from janus_core.node.choose import try_out

    with opened(up=False) as janus:
        trial = try_out(janus, name)
    if json_output:
        print_json({"type": "result", **asdict(trial)})
    elif trial.kind == "chat":
        print(report.printable(trial.text))
        report.say(
            f"{trial.name}: first token after {trial.first_token_ms} ms,"
            f" {trial.tokens} tokens at {trial.tokens_per_s} a second"
        )
    else:
        print(f"alike {trial.near:.2f} · unlike {trial.far:.2f} · {trial.took_ms} ms")


def _as_json(model: ChatFile | EmbeddingFolder) -> dict[str, Any]:
    from janus_core.llm.models import ChatFile

    value: dict[str, Any] = {
        "name": model.name,
        "kind": "chat" if isinstance(model, ChatFile) else "embedding",
        "path": str(model.path),
        "sha256": model.sha256,
        "bytes": model.size,
        "origin": model.origin,
        "licence": model.licence,
    }
    if isinstance(model, ChatFile):
        return value | {"context": model.context_length, "architecture": model.architecture}
    return value | {"dim": model.dim, "max_tokens": model.max_tokens}
