"""Characters in the bytes of a text, for array functions. A character is a code point, as Spark counts them.

The encoding is that of RFC 3629 (F. Yergeau, UTF-8, a transformation format of ISO 10646, 2003). Bytes that are not
UTF-8 are characters of their own where no lead byte claims them, and nothing is read beyond the text's end.
"""

from __future__ import annotations

import numpy as np


def width(text, at, end):
    """How many bytes the character at ``at`` has; the text ends before ``end``."""
    lead = text[at]
    size = 1 if lead < 0xC0 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    return min(size, end - at)


def packed(text, at, size):
    """The character's bytes as one whole number: the same for equal characters only."""
    character = np.int64(text[at])
    for k in range(1, size):
        character = character << 8 | np.int64(text[at + k])
    return character


def count(text, start, end):
    """How many characters stand from ``start`` to before ``end``."""
    characters = 0
    at = start
    while at < end:
        at += width(text, at, end)
        characters += 1
    return characters


def is_ascii(text, start, end):
    """Whether every byte is a character of ASCII."""
    seen = np.int64(0)
    for at in range(start, end):
        seen |= np.int64(text[at])
    return seen < 0x80
