"""CUDA C, compiled by NVIDIA's own compiler (NVRTC, which needs no GPU), and run in the emulator."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.interpreter import MOST_STEPS, launch
from gpuspark.devices.emulator.memory import AddressSpace
from gpuspark.devices.emulator.parser import parse
from gpuspark.devices.emulator.program import Program

Dimensions = tuple[int, int, int]


@cache
def ptx_of(source: str, architecture: str = "70") -> str:
    """The PTX of CUDA C, with the lines it comes from."""
    from cuda.bindings import nvrtc

    def done(answer: Any) -> Any:
        code, *values = answer
        assert int(code) == 0, code
        return values[0] if values else None

    program = done(nvrtc.nvrtcCreateProgram(source.encode(), b"kernels.cu", 0, None, None))
    options = [f"--gpu-architecture=compute_{architecture}".encode(), b"-lineinfo", b"--fmad=false"]
    (code,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    # NVRTC writes into what it is given: never bytes, as those of one byte are shared by the whole process
    log = bytearray(done(nvrtc.nvrtcGetProgramLogSize(program)))
    done(nvrtc.nvrtcGetProgramLog(program, log))
    assert int(code) == 0, log.decode()
    text = bytearray(done(nvrtc.nvrtcGetPTXSize(program)))
    done(nvrtc.nvrtcGetPTX(program, text))
    return text.rstrip(b"\0").decode()


class Kernel:
    """An ``extern "C" __global__`` function. Called like one:
    ``kernel[grid, block, shared bytes](array, 3, 1.5)``; arrays are changed in place."""

    def __init__(self, source: str, name: str, architecture: str = "70") -> None:
        self.source, self.name, self.architecture = source, name, architecture
        self.grid: Dimensions = (1, 1, 1)
        self.block: Dimensions = (1, 1, 1)
        self.shared_bytes = 0
        self.most_steps = MOST_STEPS

    def __getitem__(self, shape: tuple[int | Dimensions, ...]) -> Kernel:
        made = Kernel(self.source, self.name, self.architecture)
        made.grid, made.block = (_dimensions(size) for size in shape[:2])
        made.shared_bytes = int(shape[2]) if len(shape) > 2 else 0  # type: ignore[arg-type]
        made.most_steps = self.most_steps
        return made

    def __call__(self, *arguments: NDArray[Any] | float) -> None:
        memory = AddressSpace(1 << 28)
        program = Program(parse(ptx_of(self.source, self.architecture)), memory)
        words: list[int] = []
        buffers: list[tuple[NDArray[Any], Any]] = []
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                buffer = memory.allocate(argument.nbytes, f"argument {len(words)}")
                buffer.data[: argument.nbytes] = argument.reshape(-1).view(np.uint8)
                buffer.initialised = None
                buffers.append((argument, buffer))
                words.append(buffer.address)
            elif isinstance(argument, float):
                words.append(struct.unpack("<Q", struct.pack("<d", argument))[0])
            else:
                words.append(argument)
        launch(
            program, self.name, self.grid, self.block, words,
            shared_bytes=self.shared_bytes, most_steps=self.most_steps,
        )  # fmt: skip
        for array, buffer in buffers:
            array.reshape(-1).view(np.uint8)[:] = buffer.data[: array.nbytes]


def _dimensions(size: int | Sequence[int]) -> Dimensions:
    x, y, z = ([size] if isinstance(size, int) else list(size)) + [1] * (2 if isinstance(size, int) else 3 - len(size))
    return x, y, z
