"""PTX text cut into words, numbers and marks, each with its line."""

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
      | (?P<mark>[{}()\[\]<>,;:=+!@|-])""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    text: str
    kind: str
    line: int


def tokens(text: str) -> list[Token]:
    found: list[Token] = []
    place, line = 0, 1
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise PtxError(line, text[place : place + 20], "this character has no meaning")
        if match.lastgroup != "skip":
            found.append(Token(match[0], match.lastgroup, line))
        line += match[0].count("\n")
        place = match.end()
    found.append(Token("", "end", line))
    return found
