"""Python function to typed program: machine code for the CPU, or PTX for CUDA.

``source`` finds and verifies a function's syntax tree, ``rewrite`` turns it into portable text over ``operations``,
``build`` compiles that text for column types, and ``programs`` keeps what it made. Only ``build`` and ``operations``
import Numba, and only when a program is not in the cache.
"""

from __future__ import annotations

from gpuspark.compiler.programs import compile_program
from gpuspark.compiler.requests import ArrayRequest, Parameter, Request
from gpuspark.compiler.rewrite import Body, rewrite
from gpuspark.compiler.source import CannotCompile

__all__ = ["ArrayRequest", "Body", "CannotCompile", "Parameter", "Request", "compile_program", "rewrite"]
