"""Text that can be stored in PostgreSQL and printed on a terminal.

Removed: NUL (PostgreSQL cannot hold it), terminal escape sequences and other
control characters but newline and tab, byte-order marks, the characters that
override the direction of text (they can make a quote read as its opposite), and
the invisible "tag" characters that carry instructions no person sees. Lone
surrogates and noncharacters become U+FFFD. Line ends become newlines.

Marks that scripts need (zero-width joiners, direction marks) are kept.
"""

from __future__ import annotations

import re

# ECMA-48: CSI sequences, then the string sequences (OSC, DCS, SOS, PM, APC) up to
# their terminator, then two-byte escapes. A string without terminator loses only
# its introducer: a lone ESC must not swallow the rest of a page.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]{0,4096}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]{0,8}[0-~]?"
)
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_REMOVED = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\ufeff\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
)
_REPLACED = re.compile("[\ud800-\udfff\ufffe\uffff]")


def safe_text(text: str) -> str:
    """Given any text, return it without what cannot be stored or must not be printed.

    Idempotent; text that is already safe comes back unchanged.
    """
    if "\x1b" in text or "\x9b" in text or "\x9d" in text or "\x90" in text:
        text = _ESCAPES.sub("", text)
    if not text.isascii():
        text = _REPLACED.sub("\ufffd", text)
    return _REMOVED.sub("", _LINE_ENDS.sub("\n", text))


def safe_line(text: str) -> str:
    """Given any text, return it as one safe line, runs of white space as one space."""
    return " ".join(safe_text(text).split())
