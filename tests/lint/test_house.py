"""The house rules: style, types and layers, each checked by its own tool."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "--no-fix", "."],
        ["mypy"],  # strict, on the packages that pyproject.toml names
        ["lint-imports", "--no-cache"],
    ],
    ids=lambda command: command[0],
)
def test_the_house_rules_hold(command: list[str]) -> None:
    tool, *arguments = command
    assert (TOOLS / tool).exists(), f"{tool} is not installed: ./install.sh --dev"

    ran = subprocess.run(
        [TOOLS / tool, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout
