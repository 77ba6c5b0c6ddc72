"""Compiles a Python function to a typed program: machine code for the CPU, or PTX for CUDA.

The modules, in the order in which a scalar body passes through them:

1. Source. ``source`` finds a function's syntax tree and verifies it against the bytecode (``private_names`` undoes
   the hiding of names in classes).
2. Rewriting, without types. ``rewrite`` turns the function into a portable text over named operations:
   ``statements`` and ``expressions`` rewrite the tree, ``calls`` binds the arguments of called functions,
   ``vocabulary`` lists the operators and library functions that compile, and ``unit`` collects the texts, constants
   and refusals of one program.
3. What the rewriting asks before any row runs. ``scope``: which objects and constants the names stand for, of which
   ``constants`` says what may be captured; ``nullness``: which expressions may be ``None``; ``flow``: which names may
   be read before they are set; ``origins``: which values are NumPy scalars or written-out integers; ``trees``:
   questions about syntax trees.
4. Identity. ``requests`` holds a body with its types, ``digest`` and ``fingerprint`` identify captured values and
   functions, and ``references`` lists what a Spark worker imports for itself.
5. Building. ``build`` gives the text its types and compiles it with Numba; ``operations`` defines what each operation
   does for each type; ``toolchain`` starts the compilers. Array functions skip the rewriting: ``array_functions``.
6. Spark expressions. ``spark_body`` rewrites a function for them, and ``catalyst`` turns it into one.
7. ``programs`` keeps programs and refusals in memory and on disk, and builds what is missing.

Only ``build``, ``operations`` and ``toolchain`` import Numba, and only for a program that is not in the cache.
"""

from __future__ import annotations

from gpuspark.compiler.programs import compile_program
from gpuspark.compiler.requests import ArrayRequest, Parameter, Request
from gpuspark.compiler.rewrite import Body, rewrite
from gpuspark.compiler.source import CannotCompile

__all__ = ["ArrayRequest", "Body", "CannotCompile", "Parameter", "Request", "compile_program", "rewrite"]
