"""Every ``spark.gpuspark.*`` key: its type, default, unit and meaning, in one frozen dataclass.

The driver reads the keys from ``spark.conf`` when a column is built; each task reads them again
from its local properties, so a change between two actions takes effect. An unknown key, or a value
that cannot be read, is a :class:`~gpuspark.errors.ConfigError` that names the nearest one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from gpuspark.errors import ConfigError, nearest

PREFIX = "spark.gpuspark."
OFF = "off"

DeviceChoice = Literal["auto", "sql", "cuda", "cpu", "emulated", "python"]
Fallback = Literal["warn", "silent", "raise"]
Arithmetic = Literal["python", "native"]


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.lower() == "true"


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"one of {', '.join(words)}. {nearest(text, words)}")
        return text

    return read


def read_bytes(text: str) -> int:
    """Parses a size as Spark writes it: ``67108864``, ``64k``, ``64m`` or ``1g``."""
    units = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    number = text.lower().removesuffix("b")
    scale = units.get(number[-1:], 1)
    digits = number[:-1] if scale > 1 else number
    if not digits.isdecimal() or int(digits) == 0:
        raise ValueError("a positive number of bytes, such as 64m")
    return int(digits) * scale


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError("a number from 0 to 1")
    return value


def _folder(text: str) -> str:
    if text != OFF and not os.path.isabs(text):
        raise ValueError(f"{OFF}, or a folder's absolute path")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ValueError("a positive whole number")
    return int(text)


def _key(name: str, default: Any, read: Callable[[str], Any], doc: str) -> Any:
    return field(default=default, metadata={"key": PREFIX + name, "read": read, "doc": doc})


@dataclass(frozen=True)
class Config:
    """The values of the ``spark.gpuspark.*`` keys. Sizes are in bytes.

    >>> Config.from_mapping({"spark.gpuspark.device": "cpu"}).device
    'cpu'
    """

    enabled: bool = _key("enabled", True, _boolean, "false: functions run exactly as plain PySpark would run them")
    device: DeviceChoice = _key(
        "device",
        "auto",
        _one_of("auto", "sql", "cuda", "cpu", "emulated", "python"),
        "auto: sql where that is exact and the function is light, else cuda if present, else cpu",
    )
    fallback: Fallback = _key(
        "fallback", "warn", _one_of("warn", "silent", "raise"), "what to do when the device asked for is not used"
    )
    target_bytes: int = _key(
        "batch.targetBytes",
        8 << 20,
        read_bytes,
        "Arrow bytes that one run of a row-wise program takes; longer batches are sliced",
    )
    segment_bytes: int = _key(
        "segment.maxBytes",
        1 << 30,
        read_bytes,
        "Arrow bytes of one group that apply_in_segments gathers; more is an error",
    )
    memory_limit_fraction: float = _key(
        "memory.limitFraction", 0.8, _fraction, "share of the GPU's memory that all workers on it may use together"
    )
    max_concurrent_tasks: int = _key(
        "device.maxConcurrentTasks", 2, _count, "tasks that may use one GPU at a time on a node"
    )
    emulated_memory: int = _key("emulated.memoryBytes", 1 << 30, read_bytes, "capacity of the emulated device")
    arithmetic: Arithmetic = _key(
        "arithmetic",
        "python",
        _one_of("python", "native"),
        "python: overflow, division by zero and domain errors behave as in Python; native: IEEE and wrapping",
    )
    ledger: bool = _key("ledger", True, _boolean, "keep the ledger (uses Spark's Python worker logs)")
    verify_fraction: float = _key(
        "verify.fraction", 0.0, _fraction, "share of batches also computed in python and compared"
    )
    capsule_folder: str = _key(
        "capsule.folder",
        OFF,
        _folder,
        "where workers keep a batch that failed, with its rows and function, for gpuspark replay",
    )

    @classmethod
    def keys(cls) -> dict[str, str]:
        """Returns every key with its description."""
        return {f.metadata["key"]: f.metadata["doc"] for f in fields(cls)}

    @classmethod
    def from_mapping(cls, properties: Mapping[str, str]) -> Config:
        """Parses the ``spark.gpuspark.*`` entries of ``properties`` and ignores all others.

        Raises :class:`~gpuspark.errors.ConfigError` for an unknown key or a bad value.
        """
        by_key = {f.metadata["key"]: f for f in fields(cls)}
        values: dict[str, Any] = {}
        for key, text in properties.items():
            if not key.startswith(PREFIX):
                continue
            if key not in by_key:
                raise ConfigError(f"Unknown configuration key {key!r}. {nearest(key, by_key)}")
            try:
                values[by_key[key].name] = by_key[key].metadata["read"](text)
            except ValueError as error:
                raise ConfigError(f"{key}={text!r} cannot be read: it takes {error}") from None
        return cls(**values)
