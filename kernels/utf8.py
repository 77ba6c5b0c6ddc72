"""The characters of UTF-8 texts, for array functions. A character is a code point, as in Spark.

The encoding is that of RFC 3629 (F. Yergeau, UTF-8, a transformation format of ISO 10646, 2003). Invalid bytes
that belong to no lead byte are characters of their own, and nothing is read beyond the end of the text.
"""

from __future__ import annotations

import numpy as np


def width(text, at, end):
    """Returns the number of bytes of the character at ``at``; the text ends before ``end``."""
    lead = text[at]
    size = 1 if lead < 0xC0 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    return min(size, end - at)


def packed(text, at, size):
    """Returns the bytes of a character as one whole number, which is different for different characters."""
    character = np.int64(text[at])
    for k in range(1, size):
        character = character << 8 | np.int64(text[at + k])
    return character


def count(text, start, end):
    """Returns the number of characters from ``start`` to before ``end``."""
    characters = 0
    at = start
    while at < end:
        at += width(text, at, end)
        characters += 1
    return characters


def is_ascii(text, start, end):
    """Returns whether all bytes are ASCII."""
    seen = np.int64(0)
    for at in range(start, end):
        seen |= np.int64(text[at])
    return seen < 0x80
