"""Changing the user's settings: one value, checked as a whole, written in one step."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr, ValidationError

from janus_core.app import Janus
from janus_core.errors import BadConfiguration, InvalidInput
from janus_core.processes import (
    ensure_private_folder,
    file_errors,
    read_own,
    service_user,
    write_private,
)
from janus_core.settings import Settings, flat


def shown(value: Any) -> Any:
    """Given a setting's value, return it as it may be shown: without user names and passwords."""
    if isinstance(value, SecretStr):
        url = value.get_secret_value()
        try:
            parts = urlsplit(url)
        except ValueError:
            return "***"
        _, at, host = parts.netloc.rpartition("@")
        query = re.sub(r"(?i)([^&=]*(pass|secret|key|token)[^&=]*)=[^&]*", r"\1=***", parts.query)
        return urlunsplit(parts._replace(netloc=f"***@{host}" if at else host, query=query))
    return list(value) if isinstance(value, tuple) else value


def set_value(janus: Janus, name: str, text: str | None) -> Path:
    """Write one setting into the user's janus.toml (None: take it out); return the file.

    Everything else in the file stays as it is, comments too. Raise NotFound's
    kin: InvalidInput for an unknown name or a value that makes no sense,
    BadConfiguration when the file cannot be read or is written in a way that
    only a person can change.
    """
    known = dict(flat(Settings()))
    if name not in known:
        near = [each for each in known if name.rpartition(".")[2] in each]
        raise InvalidInput(
            f"no such setting: {name}",
            f"Did you mean {', '.join(near)}?" if near else "See: janus config show",
        )
    path = janus.locations.settings_file
    before = _read(path)
    tree = _parse(path, before)
    wanted = _with(tree, name, None if text is None else _checked(tree, name, text))
    after = _edited(before, name, _lookup(wanted, name))
    if not _says(after, wanted):
        raise BadConfiguration(
            f"{path} is written in a way that only a person can change", f"Set {name} by hand."
        )
    user = service_user()
    if not path.parent.exists():
        ensure_private_folder(path.parent, user)
    write_private(path, after, user)
    return path


def overridden_by(janus: Janus, name: str) -> str:
    """Return what hides the user's value of a setting: a variable or a project's file, or ""."""
    origin = janus.loaded.origin(name)
    return "" if origin in ("default", str(janus.locations.settings_file)) else origin


def _read(path: Path) -> str:
    try:
        return read_own(path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        with file_errors("cannot read the settings"):
            raise error


def _parse(path: Path, content: str) -> dict[str, Any]:
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise BadConfiguration(
            f"cannot read {path}: {error}", "Mend or remove the file."
        ) from error


def _says(content: str, wanted: Mapping[str, Any]) -> bool:
    try:
        return tomllib.loads(content) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _checked(tree: Mapping[str, Any], name: str, text: str) -> Any:
    """Given a value as typed, return it as TOML has it, once all settings hold with it."""
    value: Any = text
    if isinstance(dict(flat(Settings()))[name], tuple):
        value = [os.path.abspath(part) for part in text.split(",") if part]  # noqa: PTH100
    try:
        settings = Settings.model_validate(_with(tree, name, value))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{field or name}: {first['msg']}", "See: janus config show") from error
    found = dict(flat(settings))[name]
    if isinstance(found, SecretStr):
        return found.get_secret_value()
    return list(found) if isinstance(found, tuple) else found


def _with(tree: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return the tree with a value placed, or taken out (None)."""
    group, dot, key = name.rpartition(".")
    copy = {k: dict(v) if isinstance(v, Mapping) else v for k, v in tree.items()}
    holder = copy.setdefault(group, {}) if dot else copy
    if value is None:
        holder.pop(key, None)
    else:
        holder[key] = value
    return copy


def _lookup(tree: Mapping[str, Any], name: str) -> Any:
    group, dot, key = name.rpartition(".")
    return (tree.get(group, {}) if dot else tree).get(key)


def _edited(content: str, name: str, value: Any) -> str:
    """Return the file with one line changed, added or taken out.

    Knows only plain `key = value` lines below plain `[group]` lines; whoever
    calls checks that the outcome says what it should.
    """
    group, _, key = name.rpartition(".")
    line = None if value is None else f"{key} = {_toml(value)}"
    lines = content.splitlines()
    here, group_ends, found = "", None, None
    if not group:
        group_ends = 0
    for number, text in enumerate(lines):
        if header := re.match(r"\s*\[\s*([A-Za-z0-9_.\"-]+)\s*\]", text):
            here = header[1].strip('"')
        if here == group:
            if re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", text):
                found = number
            if text.strip() and not text.strip().startswith("#"):
                group_ends = number + 1
    if found is not None:
        lines[found : found + 1] = [] if line is None else [line + _comment(lines[found])]
    elif line is not None and group_ends is not None:
        lines.insert(group_ends, line)
    elif line is not None:
        lines += ([""] if lines else []) + [f"[{group}]", line]
    return "".join(f"{text}\n" for text in lines)


def _comment(line: str) -> str:
    """The comment at the end of a line, if its value has no # itself."""
    value, mark, comment = line.partition("#")
    return f"  #{comment}" if mark and value.count('"') % 2 == 0 else ""


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(_toml(each) for each in value)}]"
    if not isinstance(value, str):
        return str(value)
    # A JSON string is a TOML basic string, but that TOML wants DEL escaped too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
