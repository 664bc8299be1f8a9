"""Everything that can be set, in one frozen object.

Precedence: flag > environment (`JANUS_CHAT__CONTEXT=8192`) > `janus.toml` in the
working folder > the user's `janus.toml` > defaults. A project's file comes from
whoever made the folder: it may not name a service on another machine unless the
user's own file lists the folder under `trusted_projects`.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from janus_core.errors import BadConfiguration
from janus_core.locations import Locations

Profile = Literal["embedded", "containers", "external"]
Gpu = Literal["auto", "off"] | int

_CORRECT = "Correct it there; janus config path names the folders."


class _Group(BaseModel):
    # Values may be passwords: errors must not repeat them.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class StoreSettings(_Group):
    """One URL a store. Empty: what the profile brings up."""

    relational: SecretStr | None = None
    """PostgreSQL: `postgresql+psycopg://user:password@host/database`."""
    vectors: SecretStr | None = None
    """`pgvector+postgresql://…`."""
    objects: SecretStr | None = None
    """`file:///folder`."""
    queue: SecretStr | None = None
    """`redis+unix://…` or `redis://…`."""
    cache: SecretStr | None = None
    """`redis+unix://…` or `redis://…`; results, live events."""


class ChatSettings(_Group):
    """The chat model and its server."""

    model: str = "smollm2-135m-instruct-q4_1"
    """Name of a model of `janus models list`."""
    url: SecretStr | None = None
    """An OpenAI-compatible server to use in place of our own, key in the user part."""
    engine: Literal["auto", "llama-cpp-python", "xllamacpp"] = "auto"
    """What serves the model; auto takes the installed one (docs/decisions/002)."""
    context: int = Field(4096, ge=512, le=1_048_576)
    """Tokens that prompt and answer may have together."""
    threads: int = Field(0, ge=0, le=256)
    """CPU threads; 0: one for each core."""
    gpu: Gpu = "auto"
    """auto, off, or the number of layers to put on the GPU."""


class EmbeddingSettings(_Group):
    """The embedding model."""

    model: str = "minilm-int8"
    """Name of an embedding model of `janus models list`."""
    threads: int = Field(0, ge=0, le=256)
    """CPU threads; 0: one for each core."""
    gpu: Gpu = "auto"
    """auto, off, or the number of the device."""
    idle_s: int = Field(300, ge=5)
    """Seconds without work after which the embedder's memory is given back."""


class WorkerSettings(_Group):
    """The processes that do the background work."""

    processes: int = Field(1, ge=0, le=64)
    """Worker processes on this machine."""
    threads: int = Field(2, ge=1, le=64)
    """Jobs at once in each of them."""


class IngestSettings(_Group):
    """What is taken in."""

    max_file_mb: int = Field(2048, ge=1)
    """Larger files are refused, in MiB."""


class Settings(_Group):
    """All settings. Every field has a default."""

    profile: Profile | None = None
    """Where the stores run; empty: what the first `janus up` chose."""
    stores: StoreSettings = StoreSettings()
    chat: ChatSettings = ChatSettings()
    embeddings: EmbeddingSettings = EmbeddingSettings()
    worker: WorkerSettings = WorkerSettings()
    ingest: IngestSettings = IngestSettings()
    collection: str = "default"
    """The collection that commands use when none is named."""
    trusted_projects: tuple[str, ...] = ()
    """Folders whose janus.toml may name services on other machines."""


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings with the origin of each value: `default`, a file, a variable or `flag`."""

    settings: Settings
    origins: Mapping[str, str]
    """Dotted name → origin, for every value that is not a default."""

    def origin(self, name: str) -> str:
        """Return where the value of a dotted name comes from."""
        return self.origins.get(name, "default")


def load_settings(
    locations: Locations,
    *,
    environ: Mapping[str, str] = os.environ,
    project: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> LoadedSettings:
    """Read all sources and return the settings. `flags` maps dotted names to values.

    Raise BadConfiguration naming the source and the field that is wrong.
    """
    user_file = locations.settings_file
    user = dict(_named(_read(user_file), str(user_file)))
    layers = [(str(user_file), user)]
    project_file = _project_file(project)
    if project_file is not None and project_file != user_file:
        found = dict(_named(_read(project_file), str(project_file)))
        _refuse_untrusted(project_file, found, user)
        layers.append((str(project_file), found))
    layers += [(variable, {name: value}) for variable, name, value in _from_environment(environ)]
    layers.append(("flag", dict(flags or {})))
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, values in layers:
        for name, value in values.items():
            _place(merged, name, value)
            origins[name] = origin
    try:
        return LoadedSettings(Settings.model_validate(merged), origins)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        field = next((n for n in origins if f"{where}.".startswith(f"{n}.")), where)
        what = "no such setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise BadConfiguration(
            f"{origins.get(field, 'settings')}: {field}: {what}",
            _CORRECT,
        ) from error


def _project_file(folder: Path | None) -> Path | None:
    try:
        folder = folder or Path.cwd()
    except FileNotFoundError:  # it was deleted
        return None
    return folder / "janus.toml" if os.access(folder, os.X_OK) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise BadConfiguration(f"{path} is not a file", "Move it away.")
        return tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise BadConfiguration(
            f"cannot read {path}: {error}", "Mend or remove the file."
        ) from error


def _refuse_untrusted(path: Path, found: Mapping[str, Any], user: Mapping[str, Any]) -> None:
    if "trusted_projects" in found:
        raise BadConfiguration(
            f"{path}: a project cannot trust itself", "Put trusted_projects in your own settings."
        )
    urls = [n for n, url in found.items() if (n.startswith("stores.") or n == "chat.url") and url]
    trusted = user.get("trusted_projects", ())
    folders = [p for p in trusted if isinstance(p, str)] if isinstance(trusted, list) else []
    here = path.parent.resolve()
    if urls and here not in [Path(os.path.expanduser(p)).resolve() for p in folders]:  # noqa: PTH111 (never raises)
        raise BadConfiguration(
            f"{path} names a service ({', '.join(urls)}), but this folder is not trusted",
            f'If you trust it, add trusted_projects = ["{path.parent}"] to your own settings'
            " (janus config path).",
        )


def _named(tree: Mapping[str, Any], origin: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of a file's settings. Raise BadConfiguration for unknown ones."""
    known = dict(_fields(Settings))
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if not any(each.startswith(f"{name}.") for each in known):
            # A quoted key may have dots in it, and would pass for another setting.
            if name not in known or "." in key:
                raise BadConfiguration(f"{origin}: {name}: no such setting", _CORRECT)
            yield name, value
        elif "." in key or not isinstance(value, Mapping):
            raise BadConfiguration(f"{origin}: {name}: not a table of settings", _CORRECT)
        else:
            yield from _named(value, origin, f"{name}.")


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    # Only names that are settings: JANUS_HOME and the like steer other things.
    known = dict(_fields(Settings))
    for name in known:
        variable = "JANUS_" + name.replace(".", "__").upper()
        if variable in environ:
            yield variable, name, environ[variable]
    groups = {name.split(".")[0].upper() for name in known if "." in name}
    for variable in environ:
        group, separator, rest = variable.removeprefix("JANUS_").partition("__")
        if variable.startswith("JANUS_") and separator and group in groups:
            name = f"{group}.{rest.replace('__', '.')}".lower()
            if name not in known:
                raise BadConfiguration(f"{variable}: no such setting", "See: janus config show")


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _fields(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind


def flat(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of every setting; secrets stay SecretStr."""
    for name, _ in _fields(Settings):
        value: Any = settings
        for part in name.split("."):
            value = getattr(value, part)
        yield name, value


def _place(tree: dict[str, Any], name: str, value: Any) -> None:
    *path, last = name.split(".")
    for part in path:
        tree = tree.setdefault(part, {})
    tree[last] = value
