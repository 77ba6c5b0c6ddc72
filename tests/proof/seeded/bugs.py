"""The planted errors: pairs of CUDA C kernels, a wrong and a right one, that differ in one expression.

``{here}`` in ``source`` stands for that expression. Kernels take ``(const float* x, float* out, int n)`` and run in
blocks of 64 threads, one thread for each of the ``n`` rows of ``x`` and ``out``, with 256 bytes of dynamic shared
memory.
"""

from __future__ import annotations

from typing import NamedTuple


class Bug(NamedTuple):
    """One pair of kernels. ``message`` is a pattern of the checker's message for the wrong kernel."""

    name: str
    checker: str
    source: str
    wrong: str
    right: str
    message: str


HEAD = """
#define I (blockIdx.x * blockDim.x + threadIdx.x)
extern __shared__ float dynamic[];
extern "C" __global__ void kernel(const float* x, float* out, int n) {
    int i = I, t = threadIdx.x;
"""
BOUNDS, ALIGNED, WRITTEN, RACE, BARRIER, WARP, READ_ONLY, END, VALUES = (
    "bounds", "alignment", "uninitialised reads", "races", "barriers", "warps", "read-only memory", "steps",
    "comparison with Python",
)  # fmt: skip

BUGS = (
    # --- bounds
    Bug("off by one at the end", BOUNDS, "if (i {here} n) out[i] = x[i];", "<=", "<", "after the end of an input"),
    Bug("off by one at the start", BOUNDS, "if (i < n) out[i] = x[i] - x[{here}];",
        "i - 1", "i ? i - 1 : 0", "before the start of an input"),
    Bug("unmasked tail", BOUNDS, "{here} out[i] = x[i];", "", "if (i < n)", "after the end of"),
    Bug("wrong stride", BOUNDS, "if (i < n) out[i] = x[i * {here}];", "2", "1", "after the end of an input"),
    Bug("an index in too small a type", BOUNDS, "if (i < n) out[{here}] = 1;", "(signed char)(i * 2) / 2", "i",
        "before the start of an output"),
    Bug("a null pointer", BOUNDS, "const float* volatile p = {here}; if (i < n) out[i] = p[i];", "0", "x",
        "no memory for 4 bytes at 0x"),
    Bug("rows taken for columns", BOUNDS, "if (i < n) out[i] = x[i % 20 * {here} + i / 20];", "20", "5",
        "after the end of an input"),
    Bug("a shared array that is too short", BOUNDS, "__shared__ float s[{here}]; s[t] = 1; if (i < n) out[i] = s[t];",
        "63", "64", r"no shared memory for 4 bytes: 0 bytes after the end of .*of 252 bytes"),
    Bug("the grid's index in a block's array", BOUNDS,
        "__shared__ float s[64]; s[{here}] = 1; if (i < n) out[i] = s[t];", "i", "t", "no shared memory for 4 bytes"),
    Bug("more dynamic memory than the launch has", BOUNDS, "dynamic[t * {here}] = 1; if (i < n) out[i] = dynamic[t];",
        "2", "1", "0 bytes after the end of dynamic of 256 bytes"),
    Bug("a private array that is too short", BOUNDS,
        "float a[9]; for (int k = 0; k < 9; k++) a[k] = k; if (i < n) out[i] = a[(int)x[i] % 8 + {here}];",
        "8", "1", "no private memory for 4 bytes"),
    # --- alignment
    Bug("a vector from an odd place", ALIGNED,
        "if (i < n - 2) { float2 v = *(const float2*)(x + {here}); out[i] = v.x + v.y; }",
        "i", "i / 2 * 2", "misaligned access of 8 bytes"),
    Bug("a number from any byte", ALIGNED, "if (i < n - 1) out[i] = *(const float*)((const char*)x + i * {here});",
        "3", "4", "misaligned access of 4 bytes"),
    Bug("a vector in shared memory from an odd place", ALIGNED,
        "__shared__ float s[68]; s[t] = t; if (t < 4) s[64 + t] = t; __syncthreads();\n"
        "if (i < n) out[i] = *(volatile double*)(s + {here}) != 0;", "t + 1", "t / 2 * 2", "misaligned access of 8"),
    # --- uninitialised reads
    Bug("a result that is added to before it is set", WRITTEN, "if (i < n) out[i] {here} x[i];", "+=", "=",
        "that nothing has written"),
    Bug("a shared array that nobody fills", WRITTEN,
        "__shared__ float s[64]; {here} s[t] = 1; __syncthreads(); if (i < n) out[i] = s[t];",
        "if (t > 64)", "", "shared memory that nothing has written"),
    Bug("the tail of a shared array", WRITTEN,
        "__shared__ float s[64]; if (t < {here}) s[t] = 1; __syncthreads(); if (i < n) out[i] = s[63 - t];",
        "60", "64", "shared memory that nothing has written"),
    Bug("half of a double", WRITTEN,
        "__shared__ float s[128]; s[2 * t] = 1; {here} s[2 * t + 1] = 2; __syncthreads();\n"
        "if (i < n) out[i] = ((volatile double*)s)[t] != 0;", "if (t != 7)", "", "8 bytes of shared memory"),
    # --- races
    Bug("a missing barrier before reading", RACE,
        "dynamic[t] = t; {here} if (i < n) out[i] = dynamic[63 - t];", "", "__syncthreads();", "reads what .* wrote"),
    Bug("a missing barrier before writing again", RACE,
        "dynamic[t] = t; __syncthreads(); float v = dynamic[63 - t]; {here} dynamic[t] = v; if (i < n) out[i] = v;",
        "", "__syncthreads();", "writes what .* read"),
    Bug("a barrier outside of the loop only", RACE,
        "dynamic[t] = t; __syncthreads();\n"
        "for (int s = 32; s; s >>= 1) { if (t < s) dynamic[t] += dynamic[t + s]; {here} }\n"
        "__syncthreads(); if (i < n) out[i] = dynamic[0];", "", "__syncthreads();", "a race at byte"),
    Bug("a barrier of a warp for a block", RACE,
        "dynamic[t] = t; {here}; if (i < n) out[i] = dynamic[63 - t];", "__syncwarp()", "__syncthreads()",
        "reads what .* wrote"),
    Bug("lock-step of a warp relied on", RACE,
        "volatile float* s = dynamic; s[t] = t; {here}; if (i < n) out[i] = s[t ^ 1];", "", "__syncwarp()",
        "reads what .* wrote"),
    Bug("a sum that is not atomic", RACE, "if (i == 0) out[0] = 0;\n__syncthreads(); if (t < 9 && i < 64) {here};",
        "out[0] += x[t]", "atomicAdd(out, x[t])", "a race at byte 0 of an output"),
    Bug("a count in shared memory that is not atomic", RACE,
        "__shared__ int c[4]; if (t < 4) c[t] = 0; __syncthreads(); {here}; __syncthreads(); if (i < n) out[i] = c[0];",
        "c[t % 4] += t", "atomicAdd(&c[t % 4], t)", "writes what .*shared memory"),
    Bug("atomic here, plain there", RACE,
        "__shared__ int c; if (t == 0) c = 0; __syncthreads(); if (t) atomicAdd(&c, 1); else {here};\n"
        "__syncthreads(); if (i < n) out[i] = c;", "c = 5", "atomicAdd(&c, 5)", "writes what .* wrote"),
    Bug("a stencil in place", RACE,
        "if (i < n) out[i] = x[i];\n__syncthreads(); float left = t && i < n ? out[i - 1] : 0; {here}\n"
        "if (i < n) out[i] = left;", "", "__syncthreads();", "writes what .* read.*an output"),
    Bug("a neighbour in another block", RACE,
        "if (i < n) out[i] = x[i];\n__syncthreads(); if (i < n && {here} > 0) dynamic[t] = out[i - 1];", "i", "t",
        r"reads what block \(0, 0, 0\), thread \(63, 0, 0\) wrote"),
    Bug("one place for all", RACE, "if (i < 64) out[{here}] = i;", "0", "i", "writes in the same step"),
    Bug("two halves of one row", RACE,
        "char* bytes = (char*)out; if (i < n - 1) { bytes[4 * i] = bytes[4 * i + 1] = 0; bytes[4 * i + {here}] = i; "
        "bytes[4 * i + 3] = 1; }", "4", "2", "a race at byte"),
    # --- barriers
    Bug("a barrier in a branch", BARRIER, "dynamic[t] = t; if ({here}) __syncthreads(); if (i < n) out[i] = 1;",
        "t < 32", "n > 0", "a barrier that not every thread of the block reaches: 32 wait here"),
    Bug("a return before a barrier", BARRIER, "if (i >= {here}) return; __syncthreads(); if (i < n) out[i] = 1;",
        "n", "2 * n", "36 wait here, 28 have ended"),
    Bug("two barriers for one", BARRIER,
        'if (t {here}) asm volatile("bar.sync 0; // one"); else asm volatile("bar.sync 0; // two");\n'
        'if (i < n) out[i] = 1;',
        "< 32", ">= 0", "a barrier that not every thread of the block reaches"),
    Bug("barriers of different numbers", BARRIER,
        'int number = {here}; asm volatile("bar.sync %0;" :: "r"(number)); if (i < n) out[i] = 1;',
        "t / 32", "1", "a barrier that not every thread of the block reaches"),
    Bug("a loop that some leave before its barrier", BARRIER,
        "for (int k = 0; k < {here}; k++) __syncthreads(); if (i < n) out[i] = 1;", "t / 32 + 1", "2",
        "32 wait here, 32 have ended|32 wait here"),
    # --- warps
    Bug("a shuffle in a branch", WARP,
        "float v = 1; if ({here}) v = __shfl_xor_sync(0xffffffffu, v, 1); if (i < n) out[i] = v;",
        "t % 32 < 16", "n > 0", "in the mask 0xffffffff and do not take part"),
    Bug("a mask without the lane itself", WARP, "unsigned b = __ballot_sync({here}, t > 3); if (i < n) out[i] = b;",
        "0xfffffffeu", "0xffffffffu", "take part and are not in the mask"),
    Bug("a value from a lane that takes no part", WARP,
        "float v = 1; if (t % 32 < 16) v = __shfl_sync(0xffffu, v, {here}); if (i < n) out[i] = v;",
        "20", "2", "from lane 20 of its warp, which does not take part"),
    Bug("masks that overlap", WARP,
        "unsigned b = __ballot_sync(t % 32 < 16 ? {here} : 0xffff0000u, 1); if (i < n) out[i] = b;",
        "0xffffffffu", "0xffffu", "in the mask 0xffffffff and do not take part"),
    # --- the rest
    Bug("an input that is written to", READ_ONLY, "if (i < n) ((float*){here})[i] = 1;", "x", "out",
        "writes to read-only memory"),
    Bug("a loop without an end", END, "volatile float* s = dynamic; s[t] = 0; while (s[t] != {here}) s[t] += 1;",
        "0.5f", "5", "goes on and on"),
    Bug("swapped operands", VALUES, "if (i < n) out[i] = {here};", "1 - x[i]", "x[i] - 1", "differ"),
    Bug("the wrong validity bit", VALUES,
        "const unsigned char* v = (const unsigned char*)x; if (i < n) out[i] = v[i >> 3] >> {here} & 1 ? x[i] : 0;",
        "(7 - (i & 7))", "(i & 7)", "differ"),
)  # fmt: skip
