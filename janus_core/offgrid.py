"""Every switch that keeps a dependency from calling home, in one place.

Each entry point calls `seal()` before it imports anything else, because most
of these libraries read their switches once, while they are imported.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

SWITCHES: dict[str, str] = {
    # ONNX Runtime's official Linux builds send usage events and keep a device id under
    # ~/.cache unless this is set before the library is initialised.
    "ORT_DISABLE_TELEMETRY": "1",
    # Hugging Face: no downloads, no telemetry, no check for newer versions.
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # litellm fetches a price list and header lists while it is imported.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
    # Tracing of LangChain, AutoGen and whatever speaks OpenTelemetry.
    "LANGSMITH_TRACING": "false",
    "LANGSMITH_TRACING_V2": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "AUTOGEN_DISABLE_RUNTIME_TRACING": "true",
    "OTEL_SDK_DISABLED": "true",
    # Switches that several libraries share.
    "ANONYMIZED_TELEMETRY": "false",
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "SCARF_NO_ANALYTICS": "true",
    # Tools that Janus may start.
    "DOCKER_CLI_HINTS": "false",
    "COMPOSE_MENU": "false",
    "MINIO_UPDATE": "off",
    "QDRANT__TELEMETRY_DISABLED": "true",
}
"""What `seal` sets, whatever stood there before."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def seal(environ: MutableMapping[str, str] = os.environ) -> None:
    """Given an environment, switch off in it all that could reach out. Idempotent.

    Names of this machine are added to `NO_PROXY`, so that a proxy meant for
    the internet never sees what goes to Janus' own services. Nothing is
    imported but the standard library; libraries already imported keep the
    switches that they read before.
    """
    environ.update(SWITCHES)
    for name in ("NO_PROXY", "no_proxy"):
        listed = [host.strip() for host in environ.get(name, "").split(",") if host.strip()]
        if "*" not in listed:
            environ[name] = ",".join([*listed, *(h for h in LOOPBACK if h not in listed)])
