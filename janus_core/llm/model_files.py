"""Put large files into the models folder whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from janus_core.errors import Damaged, NoSpace
from janus_core.processes import file_errors, sync_folder

PARTIAL = ".partial-"
_SPARE = 64 * 1024 * 1024
_BLOCK = 1024 * 1024


def file_sha256(path: Path) -> str:
    """Given a file, return the SHA-256 of its bytes in hexadecimal."""
    with file_errors("cannot read a model file"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_space(folder: Path, size: int) -> None:
    """Given the bytes to be written, raise NoSpace unless they fit with 64 MiB to spare."""
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE:
        raise NoSpace(
            f"{folder} has {free // 2**20} MiB free, {(size + _SPARE) // 2**20} MiB are needed",
            "Free some space on that disk, then try again.",
        )


def copy_in(stream: IO[bytes], target: Path, *, sha256: str = "", size: int = 0) -> str:
    """Given an open file, write its bytes to `target` in one step; return their SHA-256.

    With `sha256` and `size` given, other bytes raise Damaged and leave nothing.
    The new file belongs to the owner of its folder and is readable by all: the
    models hold no secrets, and another user runs them. Raise NoSpace when full.
    """
    digest = hashlib.sha256()
    written = 0
    with file_errors("cannot write a model file"):
        fd, name = tempfile.mkstemp(prefix=PARTIAL, dir=target.parent)
        try:
            with os.fdopen(fd, "wb") as file:
                while block := stream.read(_BLOCK):
                    written += len(block)
                    if size and written > size:
                        break
                    digest.update(block)
                    file.write(block)
                _give_to_folder_owner(file.fileno(), target.parent)
                os.fchmod(file.fileno(), 0o644)
                file.flush()
                os.fsync(file.fileno())
            if sha256 and (digest.hexdigest() != sha256 or written != size):
                raise Damaged(
                    f"{target.name} is not the file that was expected (checksum)",
                    "Fetch its carrier again; it was changed or damaged on its way.",
                )
            Path(name).replace(target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
            raise
        sync_folder(target.parent)
    return digest.hexdigest()


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Given the facts about a model, write them beside it. Raise NoSpace, BadConfiguration."""
    text = json.dumps(dict(record), indent=1, sort_keys=True) + "\n"
    with file_errors("cannot write a model's record"):
        fd, name = tempfile.mkstemp(prefix=PARTIAL, dir=path.parent)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(text)
                _give_to_folder_owner(file.fileno(), path.parent)
                os.fchmod(file.fileno(), 0o644)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
            raise
        sync_folder(path.parent)


def read_record(path: Path) -> dict[str, Any] | None:
    """Given a record's path, return what it holds; None when there is none. Raise Damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise Damaged(
            f"the record {path} cannot be read: {error}", "Remove the model and add it again."
        ) from error
    if not isinstance(values, dict):
        raise Damaged(f"the record {path} is no record", "Remove the model and add it again.")
    return values


def remove_partial(folder: Path) -> None:
    """Given a folder that nobody writes to now, remove what interrupted copies left there."""
    for path in folder.glob(f"{PARTIAL}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder below the models folder, owned like the folder that it lies in."""
    with file_errors("cannot make a models folder"):
        missing = [each for each in (path, *path.parents) if not each.exists()]
        for each in reversed(missing):
            each.mkdir(exist_ok=True)
            each.chmod(0o755)
            fd = os.open(each, os.O_RDONLY | os.O_DIRECTORY)
            try:
                _give_to_folder_owner(fd, each.parent)
            finally:
                os.close(fd)


def _give_to_folder_owner(fd: int, folder: Path) -> None:
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(fd, owner.st_uid, owner.st_gid)
