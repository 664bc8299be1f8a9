"""Bringing the node up at boot: a systemd unit, of the system for root, of the user otherwise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from janus_core.errors import BadConfiguration
from janus_core.processes import file_errors

UNIT = "janus.service"

_TEXT = """\
[Unit]
Description=Janus, the off-grid agent platform
After=local-fs.target

[Service]
# Stays until the daemon dies; systemd then starts it again, which heals the node.
Type=exec
ExecStart={command} up --stay
Restart=always
RestartSec=3
TimeoutStopSec=90
KillMode=mixed
{environment}
[Install]
WantedBy={target}
"""


@dataclass(frozen=True, slots=True)
class BootUnit:
    """What was installed. `advice` is what the user has still to do, if anything."""

    path: Path
    enabled: bool
    advice: str


def install_unit() -> BootUnit:
    """Write the unit and enable it. Idempotent.

    The unit keeps today's `JANUS_…` variables, so that it starts this very node.
    Raise BadConfiguration where there is no systemd or the unit cannot be written.
    """
    if shutil.which("systemctl") is None:
        raise BadConfiguration(
            "this system has no systemd", "Have your init system run at boot: janus up --stay"
        )
    root = os.geteuid() == 0
    folder = Path("/etc/systemd/system" if root else "~/.config/systemd/user").expanduser()
    path = folder / UNIT
    with file_errors(f"cannot write {path}"):
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(unit_text(root=root), "utf-8")
    scope = [] if root else ["--user"]
    enabled = _succeeds("systemctl", *scope, "daemon-reload") and _succeeds(
        "systemctl", *scope, "enable", UNIT
    )
    advice = ""
    if not enabled:
        advice = (
            f"systemd does not answer here; later: systemctl {' '.join([*scope, 'enable', UNIT])}"
        )
    elif not root and not _lingers():
        advice = "It starts when you log in; for a start at boot: loginctl enable-linger"
    return BootUnit(path, enabled, advice)


def unit_text(*, root: bool) -> str:
    """Return the unit's text for this installation and today's environment."""
    command = Path(sys.argv[0]).resolve()
    kept = sorted((k, v) for k, v in os.environ.items() if k.startswith("JANUS_"))
    for name, value in [*kept, ("the path of janus", str(command))]:
        if not value.isprintable() or '"' in value:
            raise BadConfiguration(
                f"{name} cannot stand in a systemd unit", "Set it to plain text."
            )
    lines = [f'Environment="{name}={_escaped(value)}"\n' for name, value in kept]
    return _TEXT.format(
        command=f'"{_escaped(str(command))}"',
        environment="".join(lines),
        target="multi-user.target" if root else "default.target",
    )


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")


def _lingers() -> bool:
    return Path("/var/lib/systemd/linger", str(os.environ.get("USER", ""))).is_file()


def _succeeds(*command: str) -> bool:
    outcome = subprocess.run(command, capture_output=True, timeout=30, check=False)
    return outcome.returncode == 0
