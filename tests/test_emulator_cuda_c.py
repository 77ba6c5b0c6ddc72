"""The emulator on CUDA C, compiled by NVIDIA's compiler: the classic block algorithms and each cooperative instruction,
against NumPy, published vectors and plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cuda_c import Kernel, ptx_of

REDUCE = r"""
extern "C" __global__ void reduce(const double* x, double* out, int n) {
    extern __shared__ double part[];
    int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
    part[t] = i < n ? x[i] : 0.0;
    __syncthreads();
    for (int s = blockDim.x / 2; s >= 32; s >>= 1) {
        if (t < s) part[t] += part[t + s];
        __syncthreads();
    }
    if (t < 32) {
        double v = part[t];
        for (int o = 16; o; o >>= 1) v += __shfl_down_sync(0xffffffffu, v, o);
        if (t == 0) atomicAdd(out, v);
    }
}
"""

SCAN = r"""
// Hillis and Steele, Data parallel algorithms, CACM 29 (12), 1986: inclusive, one block, two buffers.
extern "C" __global__ void scan(const int* x, int* out, int n) {
    __shared__ int rows[2][512];
    int t = threadIdx.x, from = 0;
    rows[0][t] = t < n ? x[t] : 0;
    __syncthreads();
    for (int gap = 1; gap < blockDim.x; gap *= 2) {
        rows[1 - from][t] = rows[from][t] + (t >= gap ? rows[from][t - gap] : 0);
        from = 1 - from;
        __syncthreads();
    }
    if (t < n) out[t] = rows[from][t];
}
// Blelloch, Prefix sums and their applications, 1990: exclusive, up-sweep and down-sweep in one array.
extern "C" __global__ void sweep(const int* x, int* out, int n) {
    __shared__ int a[512];
    int t = threadIdx.x, m = blockDim.x, gap = 1;
    a[t] = t < n ? x[t] : 0;
    for (int d = m >> 1; d > 0; d >>= 1, gap *= 2) {
        __syncthreads();
        if (t < d) a[gap * (2 * t + 2) - 1] += a[gap * (2 * t + 1) - 1];
    }
    if (t == 0) a[m - 1] = 0;
    for (int d = 1; d < m; d *= 2) {
        gap >>= 1;
        __syncthreads();
        if (t < d) {
            int l = gap * (2 * t + 1) - 1, r = gap * (2 * t + 2) - 1, v = a[l];
            a[l] = a[r];
            a[r] += v;
        }
    }
    __syncthreads();
    if (t < n) out[t] = a[t];
}
"""

HISTOGRAM = r"""
extern "C" __global__ void histogram(const unsigned char* x, unsigned* out, int n) {
    __shared__ unsigned h[256];
    h[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&h[x[i]], 1u);
    __syncthreads();
    if (h[threadIdx.x]) atomicAdd(&out[threadIdx.x], h[threadIdx.x]);
}
"""

TRANSPOSE = r"""
extern "C" __global__ void transpose(const float* x, float* out, int rows, int columns) {
    __shared__ float tile[16][17];
    int c = blockIdx.x * 16 + threadIdx.x, r = blockIdx.y * 16 + threadIdx.y;
    if (r < rows && c < columns) tile[threadIdx.y][threadIdx.x] = x[r * columns + c];
    __syncthreads();
    c = blockIdx.y * 16 + threadIdx.x; r = blockIdx.x * 16 + threadIdx.y;
    if (r < columns && c < rows) out[r * rows + c] = tile[threadIdx.x][threadIdx.y];
}
"""

# J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.
PHILOX = r"""
extern "C" __global__ void philox(const unsigned* counters, const unsigned* keys, unsigned* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint4 c = ((const uint4*)counters)[i];
    uint2 k = ((const uint2*)keys)[i];
    for (int round = 0; round < 10; round++) {
        unsigned h0 = __umulhi(0xD2511F53u, c.x), l0 = 0xD2511F53u * c.x;
        unsigned h1 = __umulhi(0xCD9E8D57u, c.z), l1 = 0xCD9E8D57u * c.z;
        c = make_uint4(h1 ^ c.y ^ k.x, l1, h0 ^ c.w ^ k.y, l0);
        k.x += 0x9E3779B9u;
        k.y += 0xBB67AE85u;
    }
    ((uint4*)out)[i] = c;
}
"""
# Counter, key and result, from the file kat_vectors of the authors' library Random123.
PHILOX_VECTORS = (
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
)


def test_compiling_writes_into_no_bytes_of_pythons() -> None:
    """The compiler writes its log into a buffer; CPython shares one-byte strings, so it must not be one of those."""
    ptx_of.__wrapped__(REDUCE, "75")
    assert [bytes([value])[0] for value in range(256)] == list(range(256))


@pytest.mark.parametrize("block", [32, 64, 256, 1024])
@pytest.mark.parametrize("architecture", ["70", "90"])
def test_a_sum_by_blocks(block: int, architecture: str) -> None:
    values = np.arange(3000, dtype=np.float64)  # integers, so that the order of additions does not matter
    for count in (1, block - 1, block, 3000):
        out = np.zeros(1)
        Kernel(REDUCE, "reduce", architecture)[-(-count // block), block, 8 * block](values, out, count)
        assert out[0] == values[:count].sum()


@pytest.mark.parametrize("block", [64, 512])
@given(data=st.data())
def test_prefix_sums(block: int, data: st.DataObject) -> None:
    values = np.array(data.draw(st.lists(st.integers(-1000, 1000), min_size=1, max_size=block)), np.int32)
    inclusive, exclusive = np.zeros(len(values), np.int32), np.zeros(len(values), np.int32)
    Kernel(SCAN, "scan")[1, block](values, inclusive, len(values))
    Kernel(SCAN, "sweep")[1, block](values, exclusive, len(values))
    assert inclusive.tolist() == np.cumsum(values).tolist()
    assert exclusive.tolist() == (np.cumsum(values) - values).tolist()


@pytest.mark.parametrize("count", [0, 1, 255, 20_000])
def test_a_histogram_in_shared_memory(count: int) -> None:
    values = (np.random.default_rng(count).standard_normal(count) * 40).astype(np.int8).view(np.uint8)
    out = np.zeros(256, np.uint32)
    Kernel(HISTOGRAM, "histogram")[5, 256](np.append(values, np.uint8(0)), out, count)
    assert out.tolist() == np.bincount(values, minlength=256).tolist()


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (1, 40), (33, 50)])
def test_a_transposition_on_a_grid_of_two_dimensions(rows: int, columns: int) -> None:
    matrix = np.random.default_rng(rows).standard_normal((rows, columns)).astype(np.float32)
    out = np.zeros((columns, rows), np.float32)
    grid = (-(-columns // 16), -(-rows // 16), 1)
    Kernel(TRANSPOSE, "transpose")[grid, (16, 16, 1)](matrix, out, rows, columns)
    np.testing.assert_array_equal(out, matrix.T)


def test_philox_gives_the_published_numbers() -> None:
    counters, keys, expected = (
        np.array([[int(word, 16) for word in vector[n].split()] for vector in PHILOX_VECTORS], np.uint32)
        for n in range(3)
    )
    out = np.zeros_like(expected)
    Kernel(PHILOX, "philox")[1, 32](counters, keys, out, len(expected))
    np.testing.assert_array_equal(out, expected)


# ---- one instruction at a time

EXCHANGES = r"""
extern "C" __global__ void exchanges(const int* x, const int* by, int* out) {
    int i = threadIdx.x, v = x[i], b = by[0];
    unsigned all = 0xffffffffu;
    int* row = out + 20 * i;
    row[0] = __shfl_sync(all, v, by[i]);
    row[1] = __shfl_sync(all, v, by[i], 8);
    row[2] = __shfl_up_sync(all, v, b);
    row[3] = __shfl_up_sync(all, v, b, 16);
    row[4] = __shfl_down_sync(all, v, b);
    row[5] = __shfl_down_sync(all, v, b, 4);
    row[6] = __shfl_xor_sync(all, v, b);
    row[7] = __shfl_xor_sync(all, v, b, 16);
    row[8] = __ballot_sync(all, v > 0);
    row[9] = __all_sync(all, v > -100);
    row[10] = __any_sync(all, v == 3);
    row[11] = __match_any_sync(all, v);
    int same;
    row[12] = __match_all_sync(all, v, &same);
    row[13] = same;
    row[14] = __syncthreads_count(v > 0);
    row[15] = __syncthreads_and(v > -100);
    row[16] = __syncthreads_or(v == 3);
    unsigned half = i % 32 < 16 ? 0xffffu : 0xffff0000u;
    row[17] = __ballot_sync(half, v > 0);
    row[18] = v > 0 ? __popc(__ballot_sync(__activemask(), 1)) : 0;
    row[19] = __uni_sync;
}
""".replace("row[19] = __uni_sync;", 'asm("activemask.b32 %0;" : "=r"(row[19]));')


def plain_exchanges(x: list[int], by: list[int]) -> list[list[int]]:
    """Returns what ``EXCHANGES`` computes, lane by lane, as the CUDA C++ Programming Guide describes each function."""
    rows = []
    for i, v in enumerate(x):
        start = i // 32 * 32
        warp, lane, b = x[start : start + 32], i % 32, by[0]

        def taken(source: int, width: int, warp: list[int] = warp, lane: int = lane) -> int:
            segment = lane // width
            return warp[source] if 0 <= source < 32 and source // width == segment else warp[lane]

        def bits(chosen: list[bool]) -> int:
            return sum(1 << n for n, yes in enumerate(chosen) if yes)

        positive = [w > 0 for w in warp]
        equal = all(w == v for w in warp)
        rows.append(
            [
                warp[by[i] % 32],
                warp[lane // 8 * 8 + by[i] % 8],
                taken(lane - b, 32),
                taken(lane - b, 16),
                taken(lane + b, 32),
                taken(lane + b, 4),
                taken(lane ^ b, 32),
                # xor may reach lower segments, never higher ones
                warp[lane ^ b] if (lane ^ b) // 16 <= lane // 16 else v,
                bits(positive),
                int(all(w > -100 for w in warp)),
                int(3 in warp),
                bits([w == v for w in warp]),
                0xFFFFFFFF if equal else 0,
                int(equal),
                sum(w > 0 for w in x),
                int(all(w > -100 for w in x)),
                int(3 in x),
                bits([yes and n // 16 == lane // 16 for n, yes in enumerate(positive)]),
                sum(positive) if v > 0 else 0,
                0xFFFFFFFF,
            ]
        )
    return rows


@given(data=st.data())
def test_exchanges_within_a_warp_and_a_block(data: st.DataObject) -> None:
    """Any ``by`` from 0 to 31, and values that are often equal."""
    values = st.sampled_from([-200, -1, 0, 1, 3, 7]) if data.draw(st.booleans()) else st.just(5)
    x = data.draw(st.lists(values, min_size=96, max_size=96))
    by = data.draw(st.lists(st.integers(0, 31), min_size=96, max_size=96))
    out = np.zeros((96, 20), np.int32)
    Kernel(EXCHANGES, "exchanges")[1, 96](np.array(x, np.int32), np.array(by, np.int32), out)
    assert (out.astype(np.int64) % 2**32).tolist() == [[w % 2**32 for w in row] for row in plain_exchanges(x, by)]


REDUX = r"""
extern "C" __global__ void redux(const int* x, unsigned* out) {
    int v = x[threadIdx.x];
    unsigned* row = out + 6 * threadIdx.x, all = 0xffffffffu;
    row[0] = __reduce_add_sync(all, v);
    row[1] = __reduce_min_sync(all, v);
    row[2] = __reduce_max_sync(all, (unsigned)v);
    row[3] = __reduce_and_sync(all, (unsigned)v);
    row[4] = __reduce_or_sync(all, (unsigned)v);
    row[5] = __reduce_xor_sync(all, (unsigned)v);
}
"""


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=64, max_size=64))
def test_reductions_of_a_warp(x: list[int]) -> None:
    out = np.zeros((64, 6), np.uint32)
    Kernel(REDUX, "redux", "80")[1, 64](np.array(x, np.int32), out)
    for warp in (0, 1):
        values = x[32 * warp : 32 * warp + 32]
        bits = [v % 2**32 for v in values]
        expected = [
            sum(values) % 2**32,
            min(values) % 2**32,
            max(bits),
            int(np.bitwise_and.reduce(bits)),
            int(np.bitwise_or.reduce(bits)),
            int(np.bitwise_xor.reduce(bits)),
        ]
        assert out[32 * warp : 32 * warp + 32].tolist() == [expected] * 32


ATOMICS = {
    "add": ("{type}", "atomicAdd(p, v)", lambda old, v: old + v),
    "min": ("{type}", "atomicMin(p, v)", min),
    "max": ("{type}", "atomicMax(p, v)", max),
    "exch": ("{type}", "atomicExch(p, v)", lambda _old, v: v),
    "cas": ("{type}", "atomicCAS(p, (T)3, v)", lambda old, v: v if old == 3 else old),
    "and": ("{type}", "atomicAnd(p, v)", lambda old, v: old & v),
    "or": ("{type}", "atomicOr(p, v)", lambda old, v: old | v),
    "xor": ("{type}", "atomicXor(p, v)", lambda old, v: old ^ v),
    "inc": ("{type}", "atomicInc(p, v)", lambda old, v: 0 if old >= v else old + 1),
    "dec": ("{type}", "atomicDec(p, v)", lambda old, v: v if old == 0 or old > v else old - 1),
}
TYPES = {
    "int": (np.int32, "add min max exch cas and or xor"),
    "unsigned": (np.uint32, "add min max exch cas and or xor inc dec"),
    "unsigned long long": (np.uint64, "add min max exch cas and or xor"),
    "float": (np.float32, "add exch"),
    "double": (np.float64, "add"),
}
ATOMIC = r"""
typedef {type} T;
extern "C" __global__ void atomic(const T* x, const int* cell, T* out, T* found, int n) {{
    __shared__ T here[4];
    int i = threadIdx.x;
    if (i < 4) here[i] = out[i];
    __syncthreads();
    if (i < n) {{ T v = x[i], *p = {space} + cell[i]; found[i] = {call}; }}
    __syncthreads();
    if (i < 4 && {shared}) out[i] = here[i];
}}
"""


@pytest.mark.parametrize("space", ["out", "here"])
@pytest.mark.parametrize(
    ("type_name", "name"), [(type_name, name) for type_name, (_, names) in TYPES.items() for name in names.split()]
)
def test_atomic_operations_are_sequential(type_name: str, name: str, space: str) -> None:
    dtype = np.dtype(TYPES[type_name][0])
    random = np.random.default_rng(1)
    x = random.integers(0, 9, 200).astype(dtype)
    cell = random.integers(0, 4, 200).astype(np.int32)
    out, result = np.array([3, 0, 5, 7], dtype), np.zeros(200, dtype)
    source = ATOMIC.format(type=type_name, space=space, call=ATOMICS[name][1], shared=int(space == "here"))
    expected, seen = out.tolist(), []
    for value, number in zip(x.tolist(), cell.tolist(), strict=True):
        seen.append(expected[number])
        expected[number] = ATOMICS[name][2](expected[number], value)
    Kernel(source, "atomic")[1, 256](x, cell, out, result, 200)
    assert out.tolist() == expected
    assert result.tolist() == seen


def test_adding_floats_atomically_flushes_subnormals_in_global_memory_only() -> None:
    """PTX ISA, atom: atom.add.f32 on global memory flushes subnormal numbers to zero."""
    for space, expected in (("out", np.float32(0)), ("here", 3 * np.float32(1e-40))):
        source = ATOMIC.format(type="float", space=space, call=ATOMICS["add"][1], shared=int(space == "here"))
        out, x = np.array([1e-40, 0, 0, 0], np.float32), np.full(2, 1e-40, np.float32)
        Kernel(source, "atomic")[1, 32](x, np.zeros(2, np.int32), out, np.zeros(2, np.float32), 2)
        assert out[0] == expected
