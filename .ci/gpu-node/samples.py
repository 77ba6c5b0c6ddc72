"""A small call of each kernel on the GPU, for compute-sanitizer: `samples.py [NAME ...]`. Exits with 1 if one
differs."""

from __future__ import annotations

import math
import sys
from typing import Any

from gpuspark.testing import on_device
from tests.support.kernel_samples import SAMPLES, columns


def close(value: Any, wanted: Any) -> bool:
    """Returns whether two results are equal; numbers within a part in 10^9."""
    if isinstance(value, float) and isinstance(wanted, float):
        return math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(value) and math.isnan(wanted))
    if isinstance(value, dict) and isinstance(wanted, dict):
        return close(list(value.values()), list(wanted.values()))
    if isinstance(value, list) and isinstance(wanted, list):
        return len(value) == len(wanted) and all(map(close, value, wanted))
    return bool(value == wanted)


different = 0
for name in sys.argv[1:] or SAMPLES:
    with on_device("python"):
        wanted = columns(SAMPLES[name]())
    with on_device("cuda"):
        result = columns(SAMPLES[name]())
    equal = close(result, wanted)
    different += not equal
    print(f"{name}: {'the same' if equal else f'{result} instead of {wanted}'}", flush=True)
sys.exit(min(different, 1))
