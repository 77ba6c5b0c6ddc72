"""``python -m tests.proof.gpu_bits``, on a GPU node: the shared bodies on the GPU, and the same LLVM code compiled for
the processor with NVIDIA's mathematics library (:mod:`tests.support.host_ir`), compared bit for bit.

Prints a line for each batch that differs, and totals. The two may differ in the last bits of mathematical functions:
the processor only plays the hardware's approximate reciprocals and roots, from which libdevice starts.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gpuspark import kernels
from gpuspark.columns.types import parse
from gpuspark.config import Config
from gpuspark.devices import open_device
from tests.support.host_ir import on_host, results
from tests.test_host_ir import FIRST_OF_EACH, bits, columns, mixed_up, option_value

ROWS, FEWER, MANY = 20_000, 200, 4_000_000
LARGE = [
    (option_value, "double", [(50, 150), (50, 150), (0.1, 3)]),
    (kernels.haversine, "double", [(-90, 90), (-180, 180), (-90, 90), (-180, 180)]),
    (mixed_up, "bigint", [(-(10**6), 10**6), (-50, 50)]),
]


def differing(a: pa.Array, b: pa.Array) -> int:
    """Returns the number of rows that differ in validity or in the bits of their value."""
    (valid_a, bytes_a), (valid_b, bytes_b) = bits(a), bits(b)
    if pa.types.is_boolean(a.type):
        return sum(x != y for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True))
    values_a, values_b = (np.frombuffer(data, np.uint8).reshape(len(a), -1) for data in (bytes_a, bytes_b))
    validity = np.frombuffer(valid_a, np.uint8) != np.frombuffer(valid_b, np.uint8)
    return int((validity | (values_a != values_b).any(axis=1)).sum())


def main() -> int:
    gpu = open_device("cuda", Config(device="cuda"))
    batches = rows = unequal = errors = 0
    for case in FIRST_OF_EACH:
        function = case.f.scalar_function(tuple(case.f.signature.parameters)[: len(case.types)])
        types = [parse(name) for name in case.types]
        host = on_host(function, types)
        for seed in range(3):
            batch = columns(case.types, ROWS, seed)
            ours, theirs = (results(function, types, batch, device) for device in (gpu, host))
            if ours.error and ours.error == theirs.error:
                batch = columns(case.types, FEWER, seed)
                ours, theirs = (results(function, types, batch, device) for device in (gpu, host))
            batches += 1
            if (ours.error, ours.reasons) != (theirs.error, theirs.reasons):
                errors += 1
                print(f"DIFFERENT ERRORS {case}: GPU {ours.error or ours.reasons!r}, processor {theirs.error!r}")
            elif ours.column is not None and theirs.column is not None:
                count = differing(ours.column, theirs.column)
                rows, unequal = rows + len(ours.column), unequal + count
                if count:
                    print(f"DIFFERENT {case} of {case.types}: {count:,} of {len(ours.column):,} rows")
    print(f"{len(FIRST_OF_EACH)} bodies, {batches} batches, {rows:,} rows: {unequal:,} rows differ")
    random = np.random.default_rng(7)
    for f, name, ranges in LARGE:
        draw = random.uniform if name == "double" else random.integers
        batch = [pa.array(draw(low, high, MANY)) for low, high in ranges]
        function, types = f.scalar_function(tuple(f.signature.parameters)), [parse(name)] * len(batch)
        one, other = (results(function, types, batch, device).column for device in (gpu, on_host(function, types)))
        assert one is not None
        assert other is not None
        print(f"{f.__name__}: {differing(one, other):,} of {MANY:,} rows differ")
    return int(errors > 0)


if __name__ == "__main__":
    raise SystemExit(main())
