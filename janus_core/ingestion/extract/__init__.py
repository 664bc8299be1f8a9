"""From the bytes of a file to the text of its pages, without trusting the file.

Where to start:

* `extractor.Extractor` is what ingestion calls: pages from a file, parsed in a
  sandboxed child process that may crash, hang or swell without harm.
* `registry` knows the formats: it looks at the content, then at the name.
* one module a format (`text`, `html`, `pdf`); to add one, write
  `parse(file, name, start_page) -> Parsed`, `preload()` and `PARSER_VERSION`,
  and give it a line in `registry.FORMATS`.
* `clean` makes text safe to store and to print.
* `child` is the process that parses, `confine` what takes its rights away,
  `frames` what it says to its parent.
"""

from janus_core.ingestion.extract.base import Limits
from janus_core.ingestion.extract.extraction import Extraction
from janus_core.ingestion.extract.extractor import Extractor
from janus_core.ingestion.extract.registry import FORMATS, Format

__all__ = ["FORMATS", "Extraction", "Extractor", "Format", "Limits"]
