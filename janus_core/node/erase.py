"""Deleting what an installation keeps: for `janus down --volumes`, and nothing else."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from janus_core.app import Janus
from janus_core.errors import BadConfiguration
from janus_core.processes import file_errors


@dataclass(frozen=True, slots=True)
class Doomed:
    """A folder or file that will be deleted. `size`: bytes in it, 0 when it is not there."""

    path: Path
    what: str
    size: int


def what_goes(janus: Janus) -> tuple[Doomed, ...]:
    """Return what `erase` deletes: documents, stores, logs and the passwords of the stores.

    Settings and models stay, and so does every store that a URL points elsewhere.
    Raise BadConfiguration when the folders are such that more would be lost.
    """
    places = janus.locations
    doomed = (
        (places.data, "documents and stores"),
        (places.state, "logs, and which profile runs here"),
        (places.runtime, "sockets"),
        (places.secrets_file, "passwords of the stores"),
    )
    kept = [places.models, places.settings_file, Path.home()]
    for path, _ in doomed:
        for other in kept:
            if _real(other).is_relative_to(_real(path)):
                raise BadConfiguration(
                    f"{path} holds {other}, which must stay", "Delete by hand what you mean."
                )
    return tuple(Doomed(path, what, _size(path)) for path, what in doomed if _is_there(path))


def erase(doomed: tuple[Doomed, ...]) -> None:
    """Delete what `what_goes` named. Everything must be down. Idempotent."""
    # The passwords go first: without them the rest is no installation any more,
    # whatever interrupts us.
    for each in reversed(doomed):
        with file_errors(f"cannot delete {each.path}"):
            if each.path.is_dir():
                shutil.rmtree(_real(each.path))
            if each.path.is_symlink() or each.path.is_file():
                each.path.unlink()


def _real(path: Path) -> Path:
    return path.resolve()


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.lstat().st_size
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                total += Path(folder, name).lstat().st_size
            except FileNotFoundError:
                continue  # the services may still run
    return total
