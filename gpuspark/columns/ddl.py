"""Texts that Spark reads as a type, read without Spark: ``double``, ``map<string,array<int>>``, ``a int, b string``.

The grammar is that of ``DataType.fromDDL`` in PySpark 4.3, by which ``gs.udf`` knows a misspelt type where a function
is decorated, with no session yet. Names of collations are left to Spark.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from gpuspark.errors import DeclarationError, nearest

T = TypeVar("T")
_TOKENS = re.compile(
    r"(?P<skip>\s+|--[^\n]*|/\*.*?\*/)|(?P<quoted>`(?:[^`]|``)*`)|(?P<string>'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<word>\w+)|(?P<mark>[<>(),:.])|(?P<other>.)",
    re.DOTALL | re.ASCII,
)
_SIMPLE = {
    "boolean": "boolean", "tinyint": "tinyint", "byte": "tinyint", "smallint": "smallint", "short": "smallint",
    "int": "int", "integer": "int", "bigint": "bigint", "long": "bigint", "float": "float", "real": "float",
    "double": "double", "date": "date", "binary": "binary", "void": "void", "variant": "variant",
}  # fmt: skip
_UNITS = (("year", "month"), ("day", "hour", "minute", "second"))
_NAMES = (*_SIMPLE, "string", "decimal", "timestamp", "timestamp_ntz", "time", "interval day to second",
          "array", "map", "struct")  # fmt: skip


def canonical(text: str) -> str:
    """Spark's own name of the type that ``text`` stands for.

    >>> canonical("ARRAY < LONG >"), canonical("a int not null, b timestamp without time zone")
    ('array<bigint>', 'struct<a:int,b:timestamp_ntz>')

    Raises :class:`~gpuspark.errors.DeclarationError` for a text that Spark does not read as a type.
    """
    for read in (_Reader.schema, _Reader.type, _Reader.struct_fields):
        found = _whole(text, read)
        if found is not None:
            return found if isinstance(found, str) else f"struct<{','.join(map(':'.join, found))}>"
    raise _refused(text)


def columns(text: str) -> dict[str, str] | list[str]:
    """Types by name out of ``"a double, b int not null"``; out of ``"double, int"`` the types alone.

    Raises :class:`~gpuspark.errors.DeclarationError` for a text that is neither.
    """
    alone = _whole(text, _Reader.types)
    if alone is not None:
        return alone
    named = _whole(text, _Reader.schema) or _whole(text, _Reader.struct_fields)
    if named is None:
        raise _refused(text)
    return dict(named)


def _whole(text: str, read: Callable[[_Reader], T]) -> T | None:
    """What ``read`` makes of the whole of ``text``; ``None`` where something is in the way."""
    reader = _Reader(text)
    try:
        found = read(reader)
    except _Stop:
        return None
    return found if reader.next() == "" else None


def _refused(text: str) -> DeclarationError:
    hint = nearest(" ".join(text.lower().split()), _NAMES)
    return DeclarationError(f"{text!r} is not a type of Spark SQL. {hint}")


class _Stop(Exception):
    """The text goes on in a way that the grammar does not have."""


class _Reader:
    """The tokens of a text, read one after the other by the methods named for what they read."""

    def __init__(self, text: str) -> None:
        self._tokens = [(str(m.lastgroup), m.group()) for m in _TOKENS.finditer(text) if m.lastgroup != "skip"]
        self._place = 0

    def next(self, ahead: int = 0) -> str:
        """The next token in lower case, without taking it; empty at the end, and for a quoted name or text."""
        place = self._place + ahead
        group, token = self._tokens[place] if place < len(self._tokens) else ("", "")
        return "`" if group in ("quoted", "string") else token.lower()

    def take(self, *wanted: str) -> bool:
        """Takes the tokens ``wanted`` if they come next; tells whether they did."""
        come = all(self.next(ahead) == token for ahead, token in enumerate(wanted))
        self._place += len(wanted) if come else 0
        return come

    def need(self, *wanted: str) -> None:
        if not self.take(*wanted):
            raise _Stop

    def _one(self, *groups: str) -> str:
        group, token = self._tokens[self._place] if self._place < len(self._tokens) else ("", "")
        if group not in groups:
            raise _Stop
        self._place += 1
        return token

    def name(self) -> str:
        token = self._one("word", "quoted")
        return token[1:-1].replace("``", "`") if token.startswith("`") else token

    def number(self, least: int, most: int) -> int:
        token = self._one("word")
        if not token.isdecimal() or not least <= int(token) <= most:
            raise _Stop
        return int(token)

    def _listed(self, read: Callable[[], T]) -> list[T]:
        found = [read()]
        while self.take(","):
            found.append(read())
        return found

    def types(self) -> list[str]:
        return self._listed(self.type)

    def schema(self) -> list[tuple[str, str]]:
        return [] if self.next() == "" else self._listed(lambda: self._field(colon=False))

    def struct_fields(self) -> list[tuple[str, str]]:
        return [] if self.next() in ("", ">") else self._listed(lambda: self._field(colon=True))

    def _field(self, *, colon: bool) -> tuple[str, str]:
        name = self.name()
        if colon:
            self.take(":")
        found = name, self.type()
        self.take("not", "null")
        if self.take("comment"):
            self._one("string")
        return found

    def type(self) -> str:
        word = self._one("word").lower()
        if word in _SIMPLE:
            return _SIMPLE[word]
        read: dict[str, Callable[[str], str]] = {
            "array": self._array, "map": self._map, "struct": self._struct, "string": self._string,
            "decimal": self._decimal, "dec": self._decimal, "numeric": self._decimal, "interval": self._interval,
            "char": self._letters, "character": self._letters, "varchar": self._letters, "time": self._time,
            "timestamp": self._timestamp, "timestamp_ltz": self._timestamp, "timestamp_ntz": self._timestamp,
            "geometry": self._place_on_earth, "geography": self._place_on_earth,
        }  # fmt: skip
        if word not in read:
            raise _Stop
        return read[word](word)

    def _array(self, _word: str) -> str:
        self.need("<")
        element = self.type()
        self.need(">")
        return f"array<{element}>"

    def _map(self, _word: str) -> str:
        self.need("<")
        key = self.type()
        self.need(",")
        item = self.type()
        self.need(">")
        return f"map<{key},{item}>"

    def _struct(self, _word: str) -> str:
        self.need("<")
        fields = self.struct_fields()
        self.need(">")
        return f"struct<{','.join(map(':'.join, fields))}>"

    def _string(self, word: str) -> str:
        if not self.take("collate"):
            return word
        names = [self.name()]
        while self.take("."):
            names.append(self.name())
        return f"string collate {names[-1].upper()}"

    def _letters(self, word: str) -> str:
        self.need("(")
        length = self.number(1, 2**31 - 1)
        self.need(")")
        if self.take("collate"):
            self.name()
        return f"{'varchar' if word == 'varchar' else 'char'}({length})"

    def _decimal(self, _word: str) -> str:
        precision, scale = 10, 0
        if self.take("("):
            precision = self.number(1, 38)
            scale = self.number(0, precision) if self.take(",") else 0
            self.need(")")
        return f"decimal({precision},{scale})"

    def _digits(self, most: int) -> int:
        """The digits of a second, where they are told; Spark has 6 by default."""
        if not self.take("("):
            return 6
        found = self.number(0, most)
        self.need(")")
        return found

    def _time(self, _word: str) -> str:
        digits = self._digits(9)
        self.take("without", "time", "zone")
        return f"time({digits})"

    def _timestamp(self, word: str) -> str:
        self._digits(6)
        if word == "timestamp" and self.take("without", "time", "zone"):
            return "timestamp_ntz"
        if word == "timestamp":
            self.take("with", "local", "time", "zone")
        return "timestamp_ntz" if word == "timestamp_ntz" else "timestamp"

    def _interval(self, word: str) -> str:
        for units in _UNITS:
            if self.next() in units:
                first = units.index(self._one("word").lower())
                last = first
                if self.take("to"):
                    last = next((n for n in range(first + 1, len(units)) if self.take(units[n])), -1)
                    if last < 0:
                        raise _Stop
                return f"interval {units[first]}" + (f" to {units[last]}" if last > first else "")
        return word

    def _place_on_earth(self, word: str) -> str:
        self.need("(")
        system: Any = "any" if self.take("any") else self.number(0, 2**31 - 1)
        self.need(")")
        return f"{word}({system})"
