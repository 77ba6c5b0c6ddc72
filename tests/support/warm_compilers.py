"""Loads Numba as the first compilation does, for processes that are forked from this one.

It loads nothing of gpuspark, whose own start of the compilers is tested as it is, and no driver of CUDA.
"""

from __future__ import annotations

import numba.extending  # noqa: F401
from numba.core.registry import cpu_target

cpu_target.target_context.refresh()  # imports the implementations of all functions and types
