"""A scratch node for measurements: its own home, taken down at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from janus_core.app import Janus, open_janus
from janus_core.locations import locate
from janus_core.node.embedded import EmbeddedNode
from janus_core.node.profile import bring_up
from janus_core.processes import service_user


@contextlib.contextmanager
def scratch_node(*, chat: bool = False, up: bool = True) -> Iterator[Janus]:
    """Give a node in a new home; models come from JANUS_TEST_MODELS or this installation."""
    models = Path(os.environ.get("JANUS_TEST_MODELS") or locate().models)
    home = Path(tempfile.mkdtemp(prefix="janus-bench-"))
    home.chmod(0o755)
    (home / "models").symlink_to(models)
    os.environ["JANUS_HOME"] = str(home)
    if not chat:
        os.environ["JANUS_CHAT__URL"] = "http://127.0.0.1:9/v1"  # nobody: no server is started
    try:
        with open_janus() as janus:
            if up:
                bring_up(janus, "embedded", lambda event: None)
            try:
                yield janus
            finally:
                EmbeddedNode(janus, user=service_user()).down()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def percentile(values: list[float], share: float) -> float:
    """Given values, return the one below which that share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
