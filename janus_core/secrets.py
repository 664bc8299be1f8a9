"""The passwords and keys of one installation: generated, kept, never shown.

One JSON file, mode 0600, 256 bits each. It is made once, whole or not at all,
and belongs to the user that the services run as.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets as entropy
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from janus_core.errors import BadConfiguration, Damaged, NotInitialised
from janus_core.processes import file_errors, sync_folder

NAMES = ("relational", "queue", "cache")


class Secrets:
    """The generated secrets, by name."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> SecretStr:
        return SecretStr(self._values[name])

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self._values))})"

    def redact(self, text: str) -> str:
        """Given text, return it with every secret in it replaced by `***`."""
        for value in self._values.values():
            text = text.replace(value, "***") if value else text
        return text


def load(path: Path) -> Secrets:
    """Read the secrets. Raise NotInitialised, Damaged, or BadConfiguration (permissions)."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise NotInitialised("Janus was never brought up here", "Run: janus up") from error
    except PermissionError as error:
        raise BadConfiguration(
            f"not allowed to read {path}", "Run Janus as the user who brought it up."
        ) from error
    except OSError as error:
        raise BadConfiguration(
            f"cannot read {path}: {error.strerror}", "Move away what is there."
        ) from error
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path} is not readable JSON", "Restore it from a backup.") from error
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        raise Damaged(f"{path} holds no secrets", "Restore it from a backup.")
    missing = [name for name in NAMES if not values.get(name)]
    if missing:
        raise Damaged(f"{path} lacks {', '.join(missing)}", "Restore it from a backup.")
    return Secrets(values)


def load_or_create(path: Path, owner: tuple[int, int] | None = None) -> Secrets:
    """Read the secrets, making them the first time. `owner` is (uid, gid) of the services.

    When several processes start at once, all get the secrets of the first. Raise
    Damaged, NoSpace or BadConfiguration.
    """
    with file_errors("cannot keep the secrets"):
        if not path.exists():
            _create(path, owner)
    return load(path)


def _create(path: Path, owner: tuple[int, int] | None) -> None:
    values = {name: entropy.token_urlsafe(32) for name in NAMES}
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".secrets-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            if owner is not None:
                os.fchown(handle, *owner)
            json.dump(values, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)  # unlike rename, this never replaces a first one
    finally:
        Path(name).unlink(missing_ok=True)
    sync_folder(path.parent)
