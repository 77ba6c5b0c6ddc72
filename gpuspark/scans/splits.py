"""The splits of a scan: which row groups each task reads, of about equal size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Piece:
    """Row groups of one file, and what identifies the file's content."""

    path: str
    size: int
    modified: int
    """Nanoseconds since 1970."""
    groups: tuple[int, ...]
    """The numbers of the row groups."""
    rows: tuple[int, ...]
    """The rows of each row group, as the footer says."""
    stored: Mapping[str, str | None]
    """By the table's names of the columns to read, the file's; ``None`` for a column that the file lacks."""
    partition: Mapping[str, Any]
    """The values of the partition columns to read, as Arrow scalars."""


Split = tuple[Piece, ...]


def pack(pieces: Iterable[tuple[Piece, int]], most: int) -> list[Split]:
    """Returns the splits of ``pieces``, each of one row group with its size in bytes, in order: a split is of at most
    ``most`` bytes, or has one row group. Row groups of one file are joined."""
    splits: list[list[Piece]] = []
    filled = 0
    for piece, size in pieces:
        if not splits or (filled and filled + size > most):
            splits.append([])
            filled = 0
        filled += size
        pieces_of_split = splits[-1]
        if pieces_of_split and pieces_of_split[-1].path == piece.path:
            pieces_of_split[-1] = _joined(pieces_of_split[-1], piece)
        else:
            pieces_of_split.append(piece)
    return [tuple(split) for split in splits]


def _joined(first: Piece, second: Piece) -> Piece:
    return replace(first, groups=first.groups + second.groups, rows=first.rows + second.rows)


def split_bytes(total: int, most: int, cost_of_file: int, parallelism: int) -> int:
    """Returns the size of a split as Spark computes it from the settings ``spark.sql.files.maxPartitionBytes``,
    ``openCostInBytes`` and the number of partitions to aim at, for ``total`` bytes of files."""
    return min(most, max(cost_of_file, -(-total // max(parallelism, 1))))
