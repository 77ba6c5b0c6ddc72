"""The public corpus: every scalar function of `fluids`, which nobody here wrote, against plain Python."""

from __future__ import annotations
