"""How the model servers are run: own process, small environment, no rights to spare.

A model file may be hostile to the library that parses it. So a server started
by root imports its libraries as root (they may lie where only root can read)
and becomes the service user before it opens the model.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from janus_core.errors import BadConfiguration
from janus_core.offgrid import seal
from janus_core.processes import PLAIN_ENVIRONMENT, ServiceUser


def module_command(module: str, *arguments: str) -> list[str]:
    """Given one of our modules, return the command that runs it with this Python."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment() -> dict[str, str]:
    """Return the environment of a model server: nothing of ours but the switches that seal."""
    environment = dict(PLAIN_ENVIRONMENT)
    # Without it, glibc keeps freed memory in one arena for each thread.
    environment["MALLOC_ARENA_MAX"] = "2"
    # llama.cpp's threads spin at each barrier unless told to sleep: with other work on the
    # machine, such as our own embedding, that is ten times slower (docs/decisions/002).
    environment["OMP_WAIT_POLICY"] = "passive"
    home = Path(__file__).parents[2]
    if home.name not in ("site-packages", "dist-packages"):  # a checkout
        environment["PYTHONPATH"] = str(home)
    seal(environment)
    return environment


def run_as_argument(user: ServiceUser | None) -> list[str]:
    """Given whom a server shall become, return the arguments that tell it."""
    return ["--run-as", f"{user.name}:{user.uid}:{user.gid}"] if user else []


def become(run_as: str) -> None:
    """Given `name:uid:gid`, give up root for that user, for good. Without it, change nothing.

    Raise BadConfiguration when that is impossible.
    """
    if not run_as:
        return
    try:
        name, uid, gid = run_as.split(":")
        # The user's further groups may open a GPU's device files.
        os.initgroups(name, int(gid))
        os.setresgid(int(gid), int(gid), int(gid))
        os.setresuid(int(uid), int(uid), int(uid))
    except (OSError, ValueError) as error:
        raise BadConfiguration(f"cannot become {run_as}: {error}", "Start it as root.") from error
