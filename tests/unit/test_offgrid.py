"""The switches that keep dependencies from calling home."""

import json
import subprocess
import sys

from janus_core.offgrid import SWITCHES, seal


def test_seal_overrides_what_stood_there() -> None:
    environ = {"HF_HUB_OFFLINE": "0", "LANGSMITH_TRACING": "true", "HOME": "/home/x"}
    seal(environ)
    assert environ["HF_HUB_OFFLINE"] == "1"
    assert environ["LANGSMITH_TRACING"] == "false"
    assert environ["HOME"] == "/home/x"
    assert SWITCHES.items() <= environ.items()


def test_seal_keeps_our_own_services_from_a_proxy() -> None:
    environ = {"NO_PROXY": "intranet.example, localhost"}
    seal(environ)
    seal(environ)
    assert environ["NO_PROXY"] == "intranet.example,localhost,127.0.0.1,::1"
    assert environ["no_proxy"] == "localhost,127.0.0.1,::1"
    open_to_all = {"NO_PROXY": "*", "no_proxy": "*"}
    seal(open_to_all)
    assert open_to_all["NO_PROXY"] == "*"


def test_seal_imports_none_of_the_libraries_it_seals() -> None:
    code = (
        "import sys, json; from janus_core.offgrid import seal; seal();"
        "print(json.dumps([m for m in ('onnxruntime','huggingface_hub','litellm','langchain_core',"
        "'autogen_core','numpy','httpx') if m in sys.modules]))"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60)
    assert json.loads(printed) == []


def test_libraries_read_the_switches() -> None:
    """The names are right: each library, asked in a fresh process, says that it is sealed."""
    code = (
        "from janus_core.offgrid import seal; seal();"
        "from huggingface_hub import constants as c;"
        "assert c.HF_HUB_OFFLINE and c.HF_HUB_DISABLE_TELEMETRY and c.HF_HUB_DISABLE_UPDATE_CHECK;"
        "from langsmith.utils import tracing_is_enabled;"
        "assert not tracing_is_enabled()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_onnx_runtime_keeps_no_device_id(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Without the switch it writes an id and an event store under the home folder."""
    code = (
        "from janus_core.offgrid import seal; seal();"
        "import onnxruntime; onnxruntime.SessionOptions();"
        "onnxruntime.get_available_providers()"
    )
    environ = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environ, cwd=".")
    assert list(tmp_path.rglob("*onnxruntime*")) == []
