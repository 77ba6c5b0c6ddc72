"""Capsules: a batch that failed, in one file, with everything that is needed to run it again without Spark.

A capsule is a zip archive of three entries::

    manifest.json    what failed and how: names, types, configuration, versions, the function's source, the error
    batch.arrow      the columns as an Arrow IPC stream of one batch; it contains the user's data
    function.pickle  the function, pickled by cloudpickle

:func:`read` parses the first two, which are data. Only :func:`function_of` unpickles, and a pickle can run any code:
its callers must ask the user first. Arrow IPC writes a slice as if it began at row 0 of its buffers, so the manifest
stores each column's offset, and :func:`placed` restores it.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import os
import pickle
import platform
import re
import sys
import time
import uuid
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuspark.compiler import CannotCompile
from gpuspark.compiler.source import read as read_source
from gpuspark.config import OFF, Config
from gpuspark.errors import CapsuleError, ConfigError, DeviceError, FallbackError, VerificationError
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.versions import installed

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
SUFFIX = ".capsule"
_MANIFEST, _BATCH, _FUNCTION = "manifest.json", "batch.arrow", "function.pickle"
_PACKAGES = ("gpuspark", "pyspark", "pyarrow", "numpy", "numba", "llvmlite", "numba-cuda")
_SHAPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "list[str]": (list,),
    "list[int]": (list,),
    "dict[str, str]": (dict,),
}
"""The classes that the JSON values of the manifest may have, by the type of the field."""


@dataclass(frozen=True)
class Manifest:
    """The description of a capsule. Lists are in the order of the function's columns, ``rows`` aside."""

    format: int
    kind: str
    """``mismatch``: a device and Python differed. ``fault``: a device failed. ``error``: the body raised."""
    error: str
    """The type and message of the error."""
    function: str
    source: str
    """The source of the body; empty if the worker could not find it."""
    portable: str
    """The rewritten body that is compiled for devices, or why it does not compile."""
    columns: list[str]
    types: list[str]
    """The names of the Arrow types."""
    nulls: list[int]
    offsets: list[int]
    """The offset of each column in its Arrow buffers: 0 except for slices."""
    rows: list[int]
    """The number of each row in its task."""
    null_rule: str
    result: str
    device: str
    flags: dict[str, str]
    """The task's ``spark.gpuspark.*`` configuration."""
    time_zone: str
    versions: dict[str, str]

    @property
    def config(self) -> Config:
        """The task's configuration, without what only concerned the machine and session that it ran in."""
        return replace(Config.from_mapping(self.flags), capsule_folder=OFF, verify_fraction=0.0, ledger=False)


@dataclass(frozen=True)
class Capsule:
    """A capsule in memory. ``function`` is a pickle; see :func:`function_of`."""

    manifest: Manifest
    batch: pa.RecordBatch
    function: bytes

    def take(self, places: Sequence[int]) -> Capsule:
        """Returns a capsule of the rows at the indices ``places`` only."""
        import pyarrow as pa

        batch = self.batch.take(pa.array(places, pa.int64()))
        rows = [self.manifest.rows[place] for place in places]
        nulls = [column.null_count for column in batch.columns]
        return Capsule(replace(self.manifest, rows=rows, nulls=nulls), batch, self.function)


def seal(
    error: BaseException,
    function: ScalarFunction,
    columns: Sequence[pa.Array],
    *,
    device: str,
    config: Config,
    first_row: int,
) -> Capsule:
    """Returns a capsule of the batch ``columns``, whose first row is row ``first_row`` of the task.

    Raises whatever pickling ``function`` raises.
    """
    import pyarrow as pa

    portable = function.body.text if function.body else "not compiled: " + "\n".join(function.refusals)
    flags = {f.metadata["key"]: str(getattr(config, f.name)) for f in fields(config)}
    manifest = Manifest(
        format=FORMAT,
        kind=_kind(error),
        error=f"{type(error).__name__}: {error}",
        function=function.name,
        source=_source(function),
        portable=portable,
        columns=list(function.columns),
        types=[str(column.type) for column in columns],
        nulls=[column.null_count for column in columns],
        offsets=[column.offset for column in columns],
        rows=list(range(first_row, first_row + len(columns[0]))),
        null_rule=function.nulls,
        result=str(function.result),
        device=device,
        flags=flags,
        time_zone="/".join(time.tzname),
        versions=versions(),
    )
    return Capsule(manifest, pa.RecordBatch.from_arrays(list(columns), list(function.columns)), _pickled(function))


def _kind(error: BaseException) -> str:
    if isinstance(error, VerificationError):
        return "mismatch"
    return "fault" if isinstance(error, DeviceError | FallbackError) else "error"


def _source(function: ScalarFunction) -> str:
    try:
        read_source(function.function)  # verifies that the file is still the one that Python loaded
        return inspect.getsource(function.function)
    except (CannotCompile, OSError, TypeError):
        return ""


def _pickled(function: ScalarFunction) -> bytes:
    """Returns the pickled function: by value if possible, so that modules which only the cluster has are included."""
    cloudpickle: Any = importlib.import_module("pyspark.cloudpickle")
    name = getattr(function.function, "__module__", None) or ""
    module = sys.modules.get(name)
    if module is None or name == "__main__" or f"{name}.".startswith("gpuspark."):
        return bytes(cloudpickle.dumps(function))
    cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(function))
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, RuntimeError):
        pass  # something else in that module cannot be pickled by value
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    return bytes(cloudpickle.dumps(function))


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that decide what a program does, in this process."""
    return {"python": platform.python_version(), **installed(_PACKAGES)}


def save(capsule: Capsule, folder: Path) -> Path:
    """Writes ``capsule`` to a new file in ``folder``, and returns its path. A folder that is created here is readable
    by its owner only.

    Raises ``OSError``.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = re.sub(r"\W+", "", capsule.manifest.function) or "function"
    path = folder / f"{name}-{uuid.uuid4().hex[:12]}{SUFFIX}"
    write(capsule, path)
    return path


def write(capsule: Capsule, path: Path) -> None:
    """Writes ``capsule`` to the new file ``path``, readable by its owner only.

    Raises ``FileExistsError`` and other ``OSError``.
    """
    import pyarrow as pa

    stream, content = io.BytesIO(), io.BytesIO()
    with pa.ipc.new_stream(stream, capsule.batch.schema) as writer:
        writer.write_batch(capsule.batch)
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_MANIFEST, json.dumps(asdict(capsule.manifest), indent=1))
        archive.writestr(_BATCH, stream.getvalue())
        archive.writestr(_FUNCTION, capsule.function)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content.getbuffer())


def read(path: Path) -> Capsule:
    """Returns the capsule in the file ``path``. Runs no code from it.

    Raises :class:`~gpuspark.errors.CapsuleError` if the file is not a capsule, is broken, or has another format.
    """
    import pyarrow as pa

    try:
        with zipfile.ZipFile(path) as archive:
            if sorted(archive.namelist()) != sorted((_MANIFEST, _BATCH, _FUNCTION)):
                contents = ", ".join(archive.namelist()) or "nothing"
                raise CapsuleError(f"{path} is not a capsule: it contains {contents}.")
            manifest = _manifest(path, json.loads(archive.read(_MANIFEST)))
            with pa.ipc.open_stream(archive.read(_BATCH)) as reader:
                batch = reader.read_next_batch()
            batch.validate(full=True)
            function = archive.read(_FUNCTION)
    except OSError as error:
        raise CapsuleError(f"{path} cannot be read: {error.strerror or error}. Check the path.") from None
    except (zipfile.BadZipFile, zlib.error, pa.ArrowException, StopIteration, EOFError, RuntimeError) as error:
        raise CapsuleError(f"{path} is broken, or not a capsule: {error}. Copy it again, as a binary file.") from None
    except UnicodeDecodeError as error:
        raise CapsuleError(f"{path} is broken: {error}. Copy it again, as a binary file.") from None
    except json.JSONDecodeError as error:
        raise CapsuleError(f"{path} is broken: its manifest is not JSON ({error}).") from None
    actual = (batch.schema.names, [str(t) for t in batch.schema.types], [batch.num_rows] * batch.num_columns)
    stated = (manifest.columns, manifest.types, [len(manifest.rows)] * len(manifest.columns))
    if actual != stated:
        raise CapsuleError(f"{path} contradicts itself: its manifest says {stated}, its batch has {actual}.")
    return Capsule(manifest, batch, function)


def _manifest(path: Path, read: Any) -> Manifest:
    if not isinstance(read, dict) or not isinstance(read.get("format"), int):
        raise CapsuleError(f"{path} is not a capsule: its manifest has no format.")
    if read["format"] != FORMAT:
        recorded = read.get("versions")
        writer = recorded.get("gpuspark", "?") if isinstance(recorded, dict) else "?"
        raise CapsuleError(
            f"{path} has format {read['format']}, written by gpuspark {writer}; this is gpuspark "
            f"{version('gpuspark')}, which reads format {FORMAT}. Replay it with the version that wrote it."
        )
    known = {f.name: str(f.type) for f in fields(Manifest)}
    if set(read) != set(known):
        raise CapsuleError(f"{path} is broken: its manifest differs in {', '.join(sorted(set(read) ^ set(known)))}.")
    wrong = [name for name, shape in known.items() if not _fits(read[name], shape)]
    if wrong:
        raise CapsuleError(f"{path} is broken: its manifest's {', '.join(wrong)} cannot be read.")
    manifest = Manifest(**read)
    if not len(manifest.columns) == len(manifest.types) == len(manifest.nulls) == len(manifest.offsets) > 0:
        raise CapsuleError(f"{path} is broken: its manifest does not describe each column.")
    try:
        manifest.config  # noqa: B018
    except ConfigError as error:
        raise CapsuleError(f"{path} was written with configuration keys that are unknown here: {error}") from None
    return manifest


def _fits(value: Any, shape: str) -> bool:
    if not isinstance(value, _SHAPES[shape]) or isinstance(value, bool):
        return False
    items = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    item_type = int if shape == "list[int]" else str
    return all(isinstance(item, item_type) and not isinstance(item, bool) for item in items)


def function_of(capsule: Capsule) -> ScalarFunction:
    """Returns the capsule's function. **This runs code from the capsule**: ask the user first.

    Raises :class:`~gpuspark.errors.CapsuleError` if the function cannot be loaded here.
    """
    there, here = capsule.manifest.versions.get("python", "?"), platform.python_version()
    if there.split(".")[:2] != here.split(".")[:2]:
        raise CapsuleError(
            f"the capsule's function is bytecode of Python {there}, but this is Python {here}. "
            f"Replay it with Python {'.'.join(there.split('.')[:2])}."
        )
    try:
        function = pickle.loads(capsule.function)
    except ImportError as error:
        raise CapsuleError(
            f"the capsule's function needs a module that is missing here: {error}. Put it on PYTHONPATH, or install it."
        ) from error
    except (pickle.UnpicklingError, AttributeError, EOFError, IndexError, KeyError, TypeError, ValueError) as error:
        raise CapsuleError(
            f"the capsule's function cannot be loaded: {type(error).__name__}: {error}. Compare the versions."
        ) from error
    if not isinstance(function, ScalarFunction) or list(function.columns) != capsule.manifest.columns:
        raise CapsuleError("the capsule's function is not the one of its manifest. Do not trust this file.")
    return function


def placed(capsule: Capsule) -> list[pa.Array]:
    """Returns the columns at the buffer offsets that they had in the task, since a fault may lie in how slices are
    read. Offsets from 128 on are reduced, and stay the same modulo 64."""
    import pyarrow as pa

    columns = []
    for column, offset in zip(capsule.batch.columns, capsule.manifest.offsets, strict=True):
        before = offset if offset < 128 else 64 + offset % 64
        if before and len(column):
            filler = column.take(pa.array([0] * before, pa.int64()))
            column = pa.concat_arrays([filler, column]).slice(before)
        columns.append(column)
    return columns
