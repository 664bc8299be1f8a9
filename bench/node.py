"""The node's own costs: `janus up`, memory, and the commands' start, in one run.

    python bench/node.py [--runs 5]

`up` first (initdb included) and again on a running node; PSS of all the node's
processes but the model server; `janus search` as a command; `janus --help` beside
`python -c "import typer"`, alternating.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from scratch import scratch_node

from janus_core.app import Janus

JANUS = shutil.which("janus", path=str(Path(sys.executable).parent)) or "janus"


def timed(*command: str) -> float:
    """Seconds of a command that must succeed."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def memory(janus: Janus) -> dict[str, int]:
    """PSS in MiB of each process of this node but the model server, with their children."""
    table = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (folder / "environ").read_bytes().decode("utf-8", "replace")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        marks = (str(janus.locations.runtime), str(janus.locations.data))
        ours = any(mark in line for mark in marks) or marks[0] in environment
        table[int(folder.name)] = (parent, line, ours)
    chosen = {p for p, (_, line, ours) in table.items() if ours and "llm.engine" not in line}
    chosen -= {os.getpid()}
    chosen |= {p for p, (parent, _, _) in table.items() if parent in chosen}
    sizes = {}
    for pid in chosen:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        pss = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
        sizes[f"{pid} {table[pid][1][:60]}"] = int(pss.split()[1]) >> 10
    return sizes


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    runs = options.parse_args().runs
    with scratch_node(chat=True, up=False) as janus:
        first = timed(JANUS, "up")
        again = statistics.median(timed(JANUS, "up") for _ in range(runs))
        time.sleep(3)
        processes = memory(janus)
        example = Path(__file__).parent.parent / "examples" / "documents"
        timed(JANUS, "ingest", str(example))
        search = [timed(JANUS, "search", "Which valve limits the pressure?") for _ in range(runs)]
    pairs = [
        (timed(JANUS, "--help"), timed(sys.executable, "-c", "import typer"))
        for _ in range(3 * runs)
    ]
    print(f"janus up, first time          {first:6.2f} s  (must be ≤ 8)")
    print(f"janus up, already up          {again:6.2f} s  (must be ≤ 1)")
    print(f"memory (PSS) without the llm  {sum(processes.values()):6d} MiB (must be ≤ 300)")
    for name, mib in sorted(processes.items(), key=lambda pair: -pair[1]):
        print(f"    {mib:4d} MiB  {name}")
    print(f"janus search, warm embedder   {statistics.median(search):6.2f} s  (must be ≤ 1.5)")
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"janus --help / import typer   {ratio:6.2f}    (must be ≤ 2.6)")


if __name__ == "__main__":
    main()
