"""The public corpus: every scalar function of the package ``fluids``, compared with plain Python."""

from __future__ import annotations
