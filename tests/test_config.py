"""``spark.gpuspark.*`` keys: each accepts the documented values, and rejects all others."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuspark.config import PREFIX, Config
from gpuspark.errors import ConfigError


def test_keys_are_the_documented_ones() -> None:
    assert {key.removeprefix(PREFIX) for key in Config.keys()} == {  # noqa: SIM118
        "enabled",
        "device",
        "fallback",
        "batch.targetBytes",
        "memory.limitFraction",
        "device.maxConcurrentTasks",
        "emulated.memoryBytes",
        "arithmetic",
        "ledger",
        "verify.fraction",
        "capsule.folder",
        "segment.maxBytes",
    }
    assert all(Config.keys().values())


def test_without_keys_the_defaults_apply_and_other_keys_are_ignored() -> None:
    assert Config.from_mapping({}) == Config()
    assert Config.from_mapping({"spark.sql.shuffle.partitions": "7", "spark.gpu": "x"}) == Config()


@pytest.mark.parametrize(
    ("key", "text", "name", "value"),
    [
        ("enabled", "FALSE", "enabled", False),
        ("device", "emulated", "device", "emulated"),
        ("fallback", "raise", "fallback", "raise"),
        ("memory.limitFraction", "0.25", "memory_limit_fraction", 0.25),
        ("device.maxConcurrentTasks", "7", "max_concurrent_tasks", 7),
        ("arithmetic", "native", "arithmetic", "native"),
        ("ledger", "false", "ledger", False),
        ("verify.fraction", "1", "verify_fraction", 1.0),
        ("capsule.folder", "/var/capsules", "capsule_folder", "/var/capsules"),
        ("batch.targetBytes", "1g", "target_bytes", 2**30),
        ("emulated.memoryBytes", "64MB", "emulated_memory", 64 * 2**20),
    ],
)
def test_a_key_sets_its_own_field_only(key: str, text: str, name: str, value: object) -> None:
    config = Config.from_mapping({PREFIX + key: text})
    assert getattr(config, name) == value
    others = [f.name for f in fields(Config) if f.name != name]
    assert [getattr(config, other) for other in others] == [getattr(Config(), other) for other in others]


@given(number=st.integers(1, 2**40), unit=st.sampled_from(["", "k", "m", "g", "K", "kb", "M", "GB"]))
def test_sizes_are_written_as_in_spark(number: int, unit: str) -> None:
    scale = 1024 ** " kmg".index(unit[:1].lower() or " ")
    assert Config.from_mapping({PREFIX + "batch.targetBytes": f"{number}{unit}"}).target_bytes == number * scale


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("enabled", "yes"),
        ("enabled", ""),
        ("device", "CPU"),
        ("fallback", "error"),
        ("batch.targetBytes", "0"),
        ("batch.targetBytes", "-1m"),
        ("batch.targetBytes", "m"),
        ("batch.targetBytes", "1.5m"),
        ("memory.limitFraction", "1.01"),
        ("memory.limitFraction", "nan"),
        ("verify.fraction", "-0.1"),
        ("verify.fraction", "half"),
        ("device.maxConcurrentTasks", "0"),
        ("device.maxConcurrentTasks", "two"),
        ("emulated.memoryBytes", "²"),
        ("device.maxConcurrentTasks", "²"),
        ("capsule.folder", "capsules"),
        ("capsule.folder", ""),
    ],
)
def test_an_error_names_the_key_and_the_values_that_it_takes(key: str, text: str) -> None:
    takes = "it takes (true or false|one of|a positive|a number from 0 to 1|off, or a folder)"
    with pytest.raises(ConfigError, match=f"{PREFIX}{key}=.*{takes}"):
        Config.from_mapping({PREFIX + key: text})


@pytest.mark.parametrize(
    ("wrong", "meant"), [("fallbak", "fallback"), ("batch.targetbytes", "batch.targetBytes"), ("Ledger", "ledger")]
)
def test_an_unknown_key_names_the_nearest(wrong: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"{PREFIX}{wrong}.*Did you mean '{PREFIX}{meant}'"):
        Config.from_mapping({PREFIX + wrong: "true"})


def test_an_unknown_device_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'cpu'"):
        Config.from_mapping({PREFIX + "device": "cpuu"})
