"""The emulated device's address space."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpuspark.devices.emulator.faults import AccessFault
from gpuspark.devices.emulator.memory import AddressSpace
from gpuspark.errors import OutOfMemory

F64 = np.dtype(np.float64)


def at(*addresses: int) -> NDArray[np.uint64]:
    """Returns addresses as an array."""
    return np.array(addresses, np.uint64)


def test_what_was_stored_is_loaded() -> None:
    space = AddressSpace(1000)
    buffer = space.allocate(800)
    indices = np.random.default_rng(0).permutation(100).astype(np.uint64)
    addresses = np.uint64(buffer.address) + indices * np.uint64(8)
    values = np.random.default_rng(1).standard_normal(100)
    space.store(addresses, values)
    np.testing.assert_array_equal(space.load(addresses, F64), values)
    np.testing.assert_array_equal(buffer.data.view(F64)[indices.astype(int)], values)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=40))
def test_threads_may_access_different_buffers(accesses: list[tuple[int, int]]) -> None:
    space = AddressSpace(1000)
    sources = [np.arange(10, dtype=np.int32) + 100 * i for i in range(3)]
    buffers = [space.put(s.view(np.uint8)) for s in sources]
    addresses = at(*(buffers[b].address + 4 * i for b, i in accesses))
    assert space.load(addresses, np.dtype(np.int32)).tolist() == [100 * b + i for b, i in accesses]
    targets = [space.allocate(40) for _ in range(3)]
    written = dict(accesses)
    chosen = at(*(targets[b].address + 4 * i for b, i in written.items()))
    space.store(chosen, np.arange(len(chosen), dtype=np.int32))
    assert space.load(chosen, np.dtype(np.int32)).tolist() == list(range(len(chosen)))


def test_one_value_is_stored_for_all_threads() -> None:
    space = AddressSpace(100)
    first, second = space.allocate(8), space.allocate(8)
    space.store(at(first.address, second.address), np.array([2.5]))
    assert space.load(at(second.address, first.address), F64).tolist() == [2.5, 2.5]


@pytest.mark.parametrize(
    ("offset", "dtype", "problem"),
    [
        (-8, "f8", "8 bytes before the start of a buffer of 20 bytes"),
        (16, "f8", "byte 16 of a buffer of 20 bytes"),
        (20, "u1", "0 bytes after the end of a buffer"),
        (4096, "u1", "4,076 bytes after the end of a buffer"),
        (4, "f8", "misaligned access of 8 bytes"),
        (1, "u2", "misaligned access of 2 bytes"),
        (-(2**35), "u1", "before the start"),
        (2**62, "u1", "after the end"),
    ],
)
def test_accesses_outside(offset: int, dtype: str, problem: str) -> None:
    space = AddressSpace(100)
    buffer = space.allocate(20)
    space.store(at(*range(buffer.address, buffer.address + 20)), np.zeros(20, np.uint8))
    inside = buffer.address + 8
    outside = (buffer.address + offset) % 2**64
    for access in (
        lambda: space.load(at(inside, inside, outside), np.dtype(dtype)),
        lambda: space.store(at(inside, inside, outside), np.zeros(3, dtype)),
    ):
        with pytest.raises(AccessFault, match=problem) as raised:
            access()
        assert raised.value.thread == 2


def test_the_last_bytes_of_the_address_space_are_in_no_buffer() -> None:
    space = AddressSpace(100)
    buffer = space.put(np.zeros(8, np.uint8))
    with pytest.raises(AccessFault, match="no memory"):
        space.load(at(buffer.address, 2**64 - 8), F64)


def test_nothing_is_allocated() -> None:
    with pytest.raises(AccessFault, match="nothing is allocated"):
        AddressSpace(10).load(at(0), F64)


def test_neighbours_are_apart() -> None:
    space = AddressSpace(10_000)
    buffers = [space.allocate(n) for n in (0, 1, 255, 256, 257, 4096)]
    for left, right in pairwise(buffers):
        assert right.address - left.end >= 4096
        assert right.address % 256 == 0


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8"])
def test_bytes_that_nothing_has_written(dtype: str) -> None:
    space = AddressSpace(100)
    buffer = space.allocate(64)
    size = np.dtype(dtype).itemsize
    space.store(at(buffer.address + 8, buffer.address + 8 + size), np.zeros(2, dtype))
    assert space.load(at(buffer.address + 8), np.dtype(dtype))[0] == 0
    with pytest.raises(AccessFault, match="that nothing has written: byte 32 of") as raised:
        space.load(at(buffer.address + 8, buffer.address + 32), np.dtype(dtype))
    assert raised.value.thread == 1


def test_a_value_that_was_written_in_part() -> None:
    space = AddressSpace(100)
    buffer = space.allocate(64)
    space.store(at(buffer.address), np.zeros(1, np.uint32))
    with pytest.raises(AccessFault, match="nothing has written"):
        space.load(at(buffer.address), F64)


def test_the_check_of_what_was_written_can_be_left_out() -> None:
    space = AddressSpace(100, check_uninitialised=False)
    assert space.load(at(space.allocate(64).address), np.dtype(np.uint8))[0] == 0xA5


def test_read_only_memory() -> None:
    space = AddressSpace(100)
    buffer, other = space.put(np.zeros(16, np.uint8), "an input"), space.allocate(16)
    with pytest.raises(AccessFault, match=r"writes to read-only memory at .*: byte 8 of an input") as raised:
        space.store(at(other.address, buffer.address + 8), np.zeros(2))
    assert raised.value.thread == 1


def test_a_copy_does_not_follow_its_source() -> None:
    host = np.arange(16, dtype=np.uint8)
    space = AddressSpace(100)
    buffer = space.put(host)
    host[:] = 0
    assert space.load(at(buffer.address + 3), np.dtype(np.uint8))[0] == 3


def test_memory_that_was_freed() -> None:
    space = AddressSpace(100)
    buffer = space.allocate(100, "an output")
    space.free(buffer)
    assert space.used == 0
    with pytest.raises(AccessFault, match="it was freed: an output of 100 bytes"):
        space.load(at(buffer.address), F64)
    with pytest.raises(ValueError, match="freed before"):
        space.free(buffer)
    assert space.allocate(100).address > buffer.end


def test_the_capacity() -> None:
    space = AddressSpace(1000)
    kept = space.allocate(600)
    with pytest.raises(OutOfMemory, match="no room for 401 bytes: 400 of its 1,000 bytes are free") as raised:
        space.allocate(401)
    assert "spark.gpuspark.emulated.memoryBytes" in str(raised.value)
    with pytest.raises(OutOfMemory):
        space.put(np.zeros(401, np.uint8))
    space.allocate(400)
    assert space.used == 1000
    space.free(kept)
    assert space.used == 400


def test_a_program_s_variables_do_not_count() -> None:
    space = AddressSpace(10)
    variable = space.place_variable(100, "table", b"\x01\x02", writable=False)
    assert space.used == 0
    addresses = at(variable.address, variable.address + 1, variable.address + 99)
    assert space.load(addresses, np.dtype(np.uint8)).tolist() == [1, 2, 0]
