"""Splits PTX text into tokens: words, numbers, strings and punctuation, each with its line."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gpuspark.devices.emulator.faults import PtxError

_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\n]+|//[^\n]*|/\*.*?\*/)
      | (?P<string>"[^"]*")
      | (?P<number>0[dD][0-9a-fA-F]{16}\b|0[fF][0-9a-fA-F]{8}\b|0[xX][0-9a-fA-F]+U?\b|0[bB][01]+U?\b
                  |\d+\.\d*(?:[eE][-+]?\d+)?|\d+U?\b)
      | (?P<word>[.%]?[A-Za-z_$][\w$]*(?:(?:\.|::)[\w$]+)*)
      | (?P<punctuation>[{}()\[\]<>,;:=+!@|-])""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """One token. ``kind`` is ``string``, ``number``, ``word``, ``punctuation`` or ``end``."""

    text: str
    kind: str
    line: int


def tokens(text: str) -> list[Token]:
    """Returns the tokens of ``text``, the last one of kind ``end``.

    Raises :class:`~.faults.PtxError` for a character that no token begins with."""
    result: list[Token] = []
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise PtxError(line, text[position : position + 20], "this character has no meaning")
        if match.lastgroup != "skip":
            result.append(Token(match[0], match.lastgroup, line))
        line += match[0].count("\n")
        position = match.end()
    result.append(Token("", "end", line))
    return result
