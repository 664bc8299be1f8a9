"""Makes the PDFs of examples/documents/. The other documents there are written by hand.

Run it in an environment of its own; Janus itself needs none of this:

    uv run --with reportlab==5.1.0 --with pillow==13.0.0 --with numpy==2.4.6 make_documents.py

With the same versions and fonts the output is the same byte for byte.
"""

from __future__ import annotations

import sys
from pathlib import Path

import logbook
import manual

HERE = Path(__file__).parent
DOCUMENTS = HERE.parent / "documents"


def main() -> None:
    """Write both PDFs into examples/documents/, or into the folder named as argument."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCUMENTS
    manual.build(HERE / "pump-manual.md", target / "pump-manual.pdf")
    logbook.build(HERE / "station-logbook.txt", target / "station-logbook.pdf")


if __name__ == "__main__":
    main()
