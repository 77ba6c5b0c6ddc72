"""How far results may be from another library's, or from the C library's, where functions of mathematics are involved.

Two implementations of exp, log or sin round differently, and the same one differs between processors; so nothing that
they enter is compared bit for bit. What is only arithmetic in a given order is: the same everywhere, to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

LINK_ULP = 8
"""Probabilities, and predictions through an exponential: units in the last place of the value, or of 1 if it is less
(a probability is often 1 minus another one)."""


def assert_linked(result: Any, wanted: Any) -> None:
    """Asserts that ``found`` is ``wanted`` to within :data:`LINK_ULP`."""
    result, wanted = np.asarray(result), np.asarray(wanted, np.float64)
    assert result.shape == wanted.shape
    apart = np.abs(result - wanted) / np.spacing(np.maximum(np.abs(wanted), 1.0))
    assert apart.max(initial=0.0) <= LINK_ULP
