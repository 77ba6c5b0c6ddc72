"""Random tables of parquet files: types, nulls, NaN, zeros of either sign, partitions, row groups, columns that some
files lack; and random filters on them."""

from __future__ import annotations

import datetime
import decimal
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Filter = tuple[str, str, Any]

_UTC = datetime.UTC
POOLS: dict[str, tuple[pa.DataType, tuple[Any, ...]]] = {
    "boolean": (pa.bool_(), (True, False)),
    "tinyint": (pa.int8(), (-128, -1, 0, 1, 7, 127)),
    "int": (pa.int32(), (-(2**31), -5, 0, 3, 4, 2**31 - 1)),
    "bigint": (pa.int64(), (-(2**63), -1, 0, 2, 2**53 + 1, 2**63 - 1)),
    "float": (pa.float32(), (math.nan, -0.0, 0.0, 1.5, -2.25, math.inf, -math.inf, 0.10000000149011612)),
    "double": (pa.float64(), (math.nan, -0.0, 0.0, 0.1, -7.5, 1e300, math.inf, -math.inf, 5e-324)),
    "decimal(9,2)": (pa.decimal128(9, 2), tuple(map(decimal.Decimal, ("-1.50", "0.00", "2.25", "9999999.99")))),
    "decimal(28,0)": (pa.decimal128(28, 0), tuple(map(decimal.Decimal, ("-1", "7", "9" * 27)))),
    "decimal(30,4)": (
        pa.decimal128(30, 4),
        tuple(map(decimal.Decimal, ("-1.5000", "0.0001", "12345678901234567890.5"))),
    ),
    "string": (pa.string(), ("", "a", "A", "ab", "b", "é", "\U00010000", "\uffff", "x" * 40)),
    "binary": (pa.binary(), (b"", b"\x00", b"a", b"\xff")),
    "date": (pa.date32(), tuple(map(datetime.date.fromisoformat, ("1582-10-15", "1970-01-01", "2024-02-29")))),
    "timestamp": (
        pa.timestamp("us", "UTC"),
        (datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, _UTC), datetime.datetime(2026, 3, 29, 1, 30, tzinfo=_UTC)),
    ),
    "timestamp_ntz": (pa.timestamp("us"), (datetime.datetime(1970, 1, 1), datetime.datetime(2026, 10, 25, 2, 30))),
}
"""By Spark's name of a type: Arrow's, and values that matter."""

PARTITIONS: tuple[tuple[Any, ...], ...] = (
    (2013, 2014, None),
    ("JFK", "L A", "a=b%", None),
    (datetime.date(2013, 1, 1), datetime.date(2013, 2, 1)),
    (1.5, -2.0),
    (2**40, 1),
)


@dataclass
class GeneratedTable:
    """A table in ``folder``."""

    folder: Path
    columns: dict[str, str]
    """The type names of the columns in the files, by column."""
    partition: str | None
    partition_values: tuple[Any, ...]


def generate(seed: int, folder: Path, write_by_spark: Callable[[pa.Table, Path], None] | None = None) -> GeneratedTable:
    """Writes the table of this seed, by Arrow, or by Spark if ``write_by_spark`` is given."""
    chosen = random.Random(seed)
    columns = {f"c{n}": chosen.choice(tuple(POOLS)) for n in range(chosen.randint(1, 4))}
    values = chosen.choice(PARTITIONS) if chosen.random() < 0.4 else ()
    files = chosen.randint(1, 3)
    number = 0
    for file in range(files):
        for value in values or ("",):
            rows = chosen.choice((0, 1, 5, 40))
            held = dict(columns)
            if file and len(held) > 1 and chosen.random() < 0.3:
                del held[chosen.choice(tuple(held))]  # a column that this file lacks
            arrays: dict[str, pa.Array] = {"id": pa.array(range(number, number + rows), pa.int64())}
            number += rows
            for name, type_name in held.items():
                arrays[name] = _column(type_name, rows, chosen)
            table = pa.table(arrays)
            place = folder / f"part={_escaped(value)}" if values else folder
            place.mkdir(parents=True, exist_ok=True)
            if write_by_spark is not None:
                write_by_spark(table, place)
            else:
                pq.write_table(
                    table,
                    place / f"file-{file}.parquet",
                    row_group_size=chosen.choice((1, 3, 16, 1000)),
                    use_dictionary=chosen.random() < 0.5,
                    write_statistics=chosen.random() < 0.85,
                    data_page_version=chosen.choice(("1.0", "2.0")),
                    compression=chosen.choice(("snappy", "none", "gzip")),
                )
    return GeneratedTable(folder, columns, "part" if values else None, values)


def _column(type_name: str, rows: int, chosen: random.Random) -> pa.Array:
    arrow, pool = POOLS[type_name]
    nulls = chosen.choice((0.0, 0.2, 1.0))
    few = chosen.sample(pool, chosen.randint(1, len(pool)))
    return pa.array([None if chosen.random() < nulls else chosen.choice(few) for _ in range(rows)], arrow)


def _escaped(value: Any) -> str:
    """Returns the folder's text for a value of a partition column, as Spark escapes it."""
    if value is None:
        return "__HIVE_DEFAULT_PARTITION__"
    return "".join(f"%{ord(c):02X}" if c in "\"#%'*/:=?\\\x7f{[]^" else c for c in str(value))


def filters_on(table: GeneratedTable, columns: Sequence[str], seed: int) -> list[list[Filter]]:
    """Returns alternatives of conditions on ``columns`` of ``table``; an empty list for no filter."""
    chosen = random.Random(seed)
    if chosen.random() < 0.2:
        return []
    return [
        [_condition(table, columns, chosen) for _ in range(chosen.randint(1, 2))] for _ in range(chosen.randint(1, 2))
    ]


def _condition(table: GeneratedTable, columns: Sequence[str], chosen: random.Random) -> Filter:
    name = chosen.choice(columns)
    if name == "id":
        pool: tuple[Any, ...] = (0, 3, 17, 60)
    elif name == table.partition:
        pool = tuple(value for value in table.partition_values if value is not None)
    else:
        pool = POOLS[table.columns[name]][1]
    operator = chosen.choice(("=", "==", "!=", "<", "<=", ">", ">=", "in", "not in"))
    if operator in ("in", "not in"):
        return name, operator, chosen.sample(pool, chosen.randint(0, min(3, len(pool))))
    return name, operator, chosen.choice(pool)


def in_spark(filters: list[list[Filter]], frame: Any) -> Any:
    """Returns the rows of a Spark frame that the filters want, by Spark's own WHERE."""
    from functools import reduce

    from pyspark.sql import functions as F

    types = {field.name: field.dataType for field in frame.schema}

    def condition(name: str, operator: str, value: Any) -> Any:
        def literal(item: Any) -> Any:
            if isinstance(item, datetime.datetime):
                return F.lit(item.isoformat()).cast(types[name])
            if isinstance(item, float):
                return F.lit(repr(item).replace("inf", "Infinity")).cast("double")
            if isinstance(item, bytes):
                return F.lit(bytearray(item))
            return F.lit(item)

        column = F.col(name)
        if operator in ("in", "not in"):
            among = reduce(lambda a, b: a | b, [column == literal(item) for item in value]) if value else F.lit(False)
            return ~among if operator == "not in" else among
        other = literal(value)
        return {
            "=": column == other, "==": column == other, "!=": column != other, "<": column < other,
            "<=": column <= other, ">": column > other, ">=": column >= other,
        }[operator]  # fmt: skip

    if not filters:
        return frame
    alternatives = [reduce(lambda a, b: a & b, [condition(*c) for c in conditions]) for conditions in filters]
    return frame.where(reduce(lambda a, b: a | b, alternatives))


def rows(frame: Any) -> list[Any]:
    """Returns the rows of a Spark frame, in one order."""
    return sorted(map(tuple, frame.collect()), key=repr)


def write(folder: Path, table: pa.Table, name: str = "one.parquet") -> Path:
    """Writes a file with several row groups, and returns its path."""
    pq.write_table(table, folder / name, row_group_size=100)
    return folder / name


def numbers(start: int = 0) -> pa.Table:
    """Returns a table of a thousand numbers."""
    return pa.table({"x": range(start, start + 1000)})
