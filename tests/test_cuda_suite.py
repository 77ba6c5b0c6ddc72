"""Whole calls on CUDA, rehearsed on the stub driver: every function and kernel, and every kind of failure."""

from __future__ import annotations

import pytest
from stub_driver import Stage, open_stage, suite

from gpuspark.kernels import CATALOGUE, ColumnKernel
from tests.support.kernel_samples import SAMPLES


@pytest.fixture
def stage() -> Stage:
    return open_stage()


@pytest.mark.parametrize("rows", [1, 33, 300])
def test_functions_and_kernels_give_pythons_answers(stage: Stage, rows: int) -> None:
    stage.play(suite.functions_and_kernels_give_pythons_answers, rows)


def test_every_kernel_over_columns_has_a_sample() -> None:
    assert {name for name, kernel in CATALOGUE.items() if isinstance(kernel, ColumnKernel)} <= set(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_array_kernels_give_pythons_answers(stage: Stage, name: str) -> None:
    stage.play(suite.array_kernels_give_pythons_answers, name)


@pytest.mark.parametrize("code", [2, 700])
def test_array_kernels_lose_no_row(stage: Stage, code: int) -> None:
    stage.play(suite.array_kernels_lose_no_row, code)


@pytest.mark.parametrize("code", [2, 46, 100, 222, 700, 719, 999])
def test_no_row_is_lost_or_doubled(stage: Stage, code: int) -> None:
    stage.play(suite.no_row_is_lost_or_doubled, code)


def test_a_lost_device_is_no_device_for_the_next_task(stage: Stage) -> None:
    stage.play(suite.a_lost_device_is_no_device_for_the_next_task)


def test_a_bug_is_no_fallback(stage: Stage) -> None:
    stage.play(suite.a_bug_is_no_fallback)


def test_little_memory_means_smaller_batches(stage: Stage) -> None:
    stage.play(suite.little_memory_means_smaller_batches, STUB_MEMORY=str(1 << 18))
