"""Goal 7: no space left. A clear error, and work resumes by itself once there is space.

The data of a whole node lies on a small tmpfs that is filled to the last byte.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from janus_core.app import open_janus

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def small_node(
    models_dir: Path, shared: ModuleType, node_type: type, until: Callable[..., float]
) -> Iterator[Any]:
    home = shared.make_home("full-")
    shared.give_models(home, models_dir)
    data = home.path / "data"
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256m,mode=0700", "tmpfs", str(data)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        shared.end(home)
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.strip()}")
    try:
        up = home("up", timeout=120)
        assert up.returncode == 0, up.stderr
        with open_janus(environ=home.environ) as core:
            yield node_type(home, core, until)
    finally:
        (data / "ballast").unlink(missing_ok=True)
        home("down", timeout=60)
        subprocess.run(["umount", str(data)], check=True)
        shared.end(home)


def _fill(folder: Path) -> Path:
    """Take every byte that is left."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for block in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(block))
    return ballast


def test_a_full_disk_is_said_so_and_passes(small_node: Any, until: Callable[..., float]) -> None:
    node = small_node
    for number in range(4):
        parts = (f"# Part {n}\n\n" + f"Part {n} of text {number}. " * 70 for n in range(8))
        node.write("queued", f"{number}.md", "\n\n".join(parts))
    queued = node.home.path / "files" / "queued"
    late = node.write("late", "late.md", "Too late for this disk.")
    for worker in node.processes("worker"):
        worker.send_signal(signal.SIGSTOP)
    assert node.home("ingest", queued, "-c", "full", "--no-wait").returncode == 0
    log = node.home.path / "state" / "logs" / "worker.log"
    written = log.stat().st_size
    ballast = _fill(node.home.path / "data")
    for worker in node.processes("worker"):
        worker.send_signal(signal.SIGCONT)

    refused = node.home("ingest", late, "-c", "full")
    assert refused.returncode == 13, refused.stderr
    assert "full" in refused.stderr and "pace" in refused.stderr, refused.stderr
    as_json = node.home("ingest", late, "-c", "full", "--json")
    assert as_json.returncode == 13 and '"no_space"' in as_json.stdout
    until(
        lambda: "full" in log.read_text()[written:] or "space" in log.read_text()[written:],
        60,
        "the worker meets the full disk",
    )

    ballast.unlink()
    took = node.settle(120)
    print(f"work resumed and ended {took:.1f} s after space was freed")
    assert node.ready("full") == 4
    assert node.home("ingest", late, "-c", "full").returncode == 0
    assert node.ready("full") == 5
    failed = node.rows("SELECT state FROM job WHERE state IN ('failed', 'quarantined')")
    assert failed == []
    node.assert_sound()
    assert node.home("status").returncode == 0
