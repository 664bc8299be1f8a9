"""Goal 19: the main job without a network makes no attempt to reach one.

It runs in a network namespace of its own whose default route and name server lie
behind an interface that leads nowhere: any packet for another machine, even the
question who the router is, is counted there. That the counter counts is shown first.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from janus_core.locations import packaged

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare"),
    pytest.mark.skipif(not shutil.which("ip"), reason="needs ip (iproute2)"),
]

_NAMESPACE = """
set -eu
ip link set lo up
ip link add out0 type veth peer name nowhere
for end in out0 nowhere; do
    # IPv6 speaks by itself as soon as an interface is up.
    ! [ -e /proc/sys/net/ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/$end/disable_ipv6
    ip link set $end up
done
ip addr add 192.0.2.1/24 dev out0
ip route add default via 192.0.2.2
mount --bind "$RESOLV" /etc/resolv.conf
counter() { ip -json -stats link show out0; }
"""


@pytest.fixture
def offline_home(shared: ModuleType, models_dir: Path) -> Iterator[Any]:
    home = shared.make_home("offgrid-")
    shared.give_models(home, models_dir)
    environ = {k: v for k, v in home.environ.items() if k != "JANUS_CHAT__URL"}
    yield shared.Home(home.path, environ)
    shared.end(home)


def _alone(home: Any, script: str, timeout: float) -> list[str]:
    """Run a shell script in the namespace; return the lines that it printed."""
    resolver = home.path / "resolv.conf"
    resolver.write_text("nameserver 192.0.2.53\noptions timeout:1 attempts:1\n")
    ran = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", _NAMESPACE + script],
        env={**home.environ, "RESOLV": str(resolver)},
        cwd=home.path,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if "Operation not permitted" in ran.stderr or "RTNETLINK" in ran.stderr:
        pytest.skip(f"no network namespace here: {ran.stderr.strip()[-200:]}")
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-3000:]
    return ran.stdout.splitlines()


def _packets(line: str) -> int:
    return int(json.loads(line)[0]["stats64"]["tx"]["packets"])


def test_the_counter_sees_attempts(offline_home: Any) -> None:
    """A connection and a look-up of a name, each one packet at least."""
    connect = (
        "import socket; s = socket.socket(); s.settimeout(0.3); s.connect_ex(('198.51.100.7', 80))"
    )
    look_up = "import socket\ntry: socket.getaddrinfo('example.org', 80)\nexcept OSError: pass"
    lines = _alone(
        offline_home,
        f'counter\n"{sys.executable}" -c "{connect}"\ncounter\n'
        f'"{sys.executable}" -c "{look_up}"\ncounter\n',
        60,
    )
    before, connected, looked_up = map(_packets, lines)
    assert before < connected < looked_up


@pytest.mark.timeout(400)
def test_the_main_job_needs_and_seeks_no_network(offline_home: Any) -> None:
    examples = packaged("examples") / "documents"
    janus = Path(sys.executable).parent / "janus"
    lines = _alone(
        offline_home,
        f"""
        "{janus}" up >&2 || [ $? = 3 ]  # 3: no chat engine is installed
        "{janus}" ingest "{examples}/duty-roster.md" "{examples}/mail-seal-kit.txt" --json | tail -1
        "{janus}" search "seal kit" -k 1 --json
        "{janus}" ask "When did the seal kit go out?" --json | tail -1
        "{janus}" status >&2 || [ $? = 3 ]
        "{janus}" down >&2
        counter
        """,
        300,
    )
    ingested, found, answer, packets = lines
    assert json.loads(ingested)["added"] == 2
    assert json.loads(found)["hits"][0]["uri"].endswith("mail-seal-kit.txt")
    assert json.loads(answer)["citations"], answer
    assert _packets(packets) == 0, "something tried to reach another machine"
