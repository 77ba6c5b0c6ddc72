"""``gs.info()``: this machine as others see it too."""

from __future__ import annotations

import importlib.metadata
import platform

import pytest

import gpuspark as gs
from gpuspark.config import Config
from gpuspark.devices import discover
from gpuspark.devices.discover import Capability, Presence
from gpuspark.errors import ConfigError


def test_versions_are_those_installed() -> None:
    result = gs.info().packages
    assert result["python"] == platform.python_version()
    for name in ("pyspark", "pyarrow", "pandas", "numba", "numba-cuda"):
        assert result[name] == importlib.metadata.version(name)


def test_every_device_has_facts_or_a_reason(monkeypatch) -> None:
    gpu = Presence({"driver": "12.9", "gpus": [{"name": "GPU of a test"}]})
    none = Presence(reason="no compiler. Install it with: pip install it")
    here = Capability(gpu, none, Presence({"cores": 2}), Presence({"version": "3"}))
    monkeypatch.setattr(discover, "discover", lambda: here)
    result = gs.info()
    assert set(result.devices) == {"cuda", "emulated", "cpu", "python"}
    assert result.devices["cuda"].startswith("here: driver 12.9")
    assert "GPU of a test" in result.devices["cuda"]
    assert result.devices["emulated"] == "not used: no compiler. Install it with: pip install it"
    assert "pip install it" in str(result)


def test_the_flag_is_the_active_sessions(spark) -> None:
    spark.conf.set("spark.gpuspark.device", "emulated")
    spark.conf.set("spark.gpuspark.emulated.memoryBytes", "64m")
    flags = gs.info().flags
    assert flags["spark.gpuspark.device"] == "emulated"
    assert flags["spark.gpuspark.emulated.memoryBytes"] == 64 << 20
    assert flags["spark.gpuspark.fallback"] == "raise"  # as conftest sets it
    assert set(flags) == set(Config.keys())


def test_a_misspelt_key_is_an_error_that_names_the_nearest(spark) -> None:
    spark.conf.set("spark.gpuspark.falback", "raise")
    with pytest.raises(ConfigError, match=r"Did you mean 'spark\.gpuspark\.fallback'"):
        gs.info()


def test_java_is_named_with_its_version(monkeypatch, tmp_path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\" 2021-10-19' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert gs.info().java == f'{java}: openjdk version "17.0.1" 2021-10-19'
    java.write_text("#!/bin/sh\necho 'no room' >&2\nexit 1\n")
    assert "does not start" in gs.info().java
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "elsewhere"))
    assert "does not exist" in gs.info().java
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gs.info().java.startswith("none found: install OpenJDK 17")
