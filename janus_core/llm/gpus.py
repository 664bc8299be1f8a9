"""Which GPUs this machine has, by what the kernel says: no driver library is loaded.

That a GPU is there does not mean that a build of an engine can use it: the
engines say themselves which device they took.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
_DISPLAY_CLASSES = ("0x0300", "0x0302", "0x0380")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU on the PCI bus."""

    vendor: str
    model: str
    """As its driver names it; the PCI device number where no driver does."""
    address: str
    has_driver: bool


def detect_gpus(sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> list[Gpu]:
    """Return the GPUs of this machine by PCI address; none where there is no PCI bus."""
    found = []
    for device in sorted((sys / "bus/pci/devices").glob("*")):
        kind, vendor = _read(device / "class"), _read(device / "vendor")
        if not kind.startswith(_DISPLAY_CLASSES) or vendor not in _VENDORS:
            continue
        model = _nvidia_model(proc, device.name) or _read(device / "device")
        has_driver = (device / "driver").exists()
        found.append(Gpu(_VENDORS[vendor], model, device.name, has_driver))
    return found


def _nvidia_model(proc: Path, address: str) -> str:
    for line in _read(proc / "driver/nvidia/gpus" / address / "information").splitlines():
        if line.startswith("Model:"):
            return line.partition(":")[2].strip()
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
