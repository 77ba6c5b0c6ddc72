"""One Spark session for the run, and what every test may rely on.

Classic Spark and Spark Connect cannot live in one process. A test that asks for the ``connect``
fixture is marked ``connect`` by itself, and ``make test`` runs those in a process of their own
(``pytest -m connect``); everything else uses ``spark``. Nothing heavy is imported until then.

Sessions start with ``spark.gpuspark.fallback=raise``: work that silently ran elsewhere than asked is
a failure. What a test sets under ``spark.gpuspark.`` is put back after it.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from gpuspark.spark.session import settings as settings_of
from tests.support.spark_classes import java_options

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FLAGS = {"spark.gpuspark.fallback": "raise"}

SETTINGS = {
    "spark.ui.port": "0",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.default.parallelism": "2",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.session.timeZone": "UTC",
    "spark.python.daemon.module": "tests.support.warm_daemon",
}

# `make properties` sets GPUSPARK_EXAMPLES and looks at new inputs each time; otherwise the inputs are
# the same in every run. Speed is the business of bench/, so no test has a deadline.
EXAMPLES = os.environ.get("GPUSPARK_EXAMPLES")
settings.register_profile(
    "gpuspark",
    max_examples=int(EXAMPLES or 50),
    derandomize=EXAMPLES is None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("gpuspark")

# Imported by tests only: as an example of its own, a file of bodies would be a second module of another name.
# Those that prepare a process to be forked would prepare this one.
collect_ignore_glob = ["support/*bod*.py", "support/warm_*.py"]

# Spark starts its workers with this interpreter, not with whatever `python3` is on the path, and they
# import functions of the tests as this process does: `test_x`, or `tests.x`.
TESTS = Path(__file__).parent
os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
os.environ.setdefault("SPARK_SUBMIT_OPTS", java_options())  # also where a test starts a Spark itself
os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS.parent), str(TESTS)])


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A classic session on two cores."""
    from pyspark.sql import SparkSession

    remember_names_of_java()
    builder = SparkSession.builder.master("local[2]").appName("gpuspark tests")
    for key, value in (SETTINGS | FLAGS).items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


def remember_names_of_java() -> None:
    """Makes Py4J look up each package and class once in this process. Each look-up, and an error takes forty, searches
    the 300 jars of Spark for the packages' names too."""
    from py4j import java_gateway

    for owner in (java_gateway.JavaPackage, java_gateway.JVMView):
        look_up = owner.__getattr__

        def remembered(self: Any, name: str, look_up: Any = look_up) -> Any:
            value = look_up(self, name)
            if not name.startswith("_"):
                self.__dict__[name] = value
            return value

        owner.__getattr__ = remembered


@pytest.fixture(scope="session")
def connect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A Spark Connect session; its server is another process. Marks its tests ``connect``."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if SparkContext._active_spark_context is not None:
        pytest.fail("classic Spark runs in this process already: run these tests with `pytest -m connect`")
    with connect_server(tmp_path_factory.mktemp("connect")) as address:
        session = SparkSession.builder.remote(address).getOrCreate()
        yield session
        session.stop()


@contextmanager
def connect_server(folder: Path) -> Iterator[str]:
    """Runs a Spark Connect server on two cores and a free port, its log in ``folder``; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    import pyspark

    here = {"spark.connect.grpc.binding.address": "127.0.0.1", "spark.connect.grpc.binding.port": str(port)}
    command = [f"{pyspark.__path__[0]}/bin/spark-submit", "--master", "local[2]"]
    for key, value in (SETTINGS | FLAGS | here).items():
        command += ["--conf", f"{key}={value}"]
    command += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"]
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        while not _listens(port):
            if server.poll() is not None:
                pytest.fail(f"the Spark Connect server ended at once:\n{log.read_text()}")
            time.sleep(0.1)
        yield f"sc://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(autouse=True)
def flags_are_put_back(request: pytest.FixtureRequest) -> Iterator[None]:
    """Undoes what the test set under ``spark.gpuspark.``; starts no session itself."""
    yield
    for name in {"spark", "connect"} & set(request.fixturenames):
        session = request.getfixturevalue(name)
        conf = session.conf
        for key in [key for key in settings_of(session) if key.startswith("spark.gpuspark.")]:
            conf.unset(key)
        for key, value in FLAGS.items():
            conf.set(key, value)


@pytest.fixture(autouse=True)
def user_types_stay_in_their_file(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one file loads changes no other's plans: functions that do not compile are PySpark's own once it has."""
    if not request.path.name.startswith("test_user_types"):
        monkeypatch.setattr("gpuspark.execution.user_types.any_loaded", lambda: False)


# First, so that `-m` sees the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that ask for ``connect``. Puts the files with most slow tests first, then those with most tests:
    pytest-xdist hands out files in this order, and a long file that came last would keep one process waiting."""
    for item in items:
        if "connect" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.connect)
    tests = Counter(item.path for item in items)
    slow_tests = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (-slow_tests[item.path], -tests[item.path]))


class DeviceTests:
    """Counts the tests that need a GPU, run and not run, and says so before pytest's closing line.

    With pytest-xdist (``-n 2``) every worker collects all tests and runs a part of them; the first one
    that ends tells the counts to the process that prints the summary.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.ran = 0
        self.left_out = 0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.ran = sum(item.get_closest_marker("device") is not None for item in session.items)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.left_out += sum(item.get_closest_marker("device") is not None for item in items)

    def pytest_sessionfinish(self) -> None:
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["device-tests"] = (self.ran, self.left_out)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.ran, self.left_out = getattr(node, "workeroutput", {}).get("device-tests", (self.ran, self.left_out))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_line(f"device-marked tests: {self.ran} ran, {self.left_out} left out. {_why_left_out()}")


def _why_left_out() -> str:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return f"No GPU driver here ({error})."
    return "This machine has a GPU driver: `make device-suite` runs them."


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(DeviceTests(config), "gpuspark-device-tests")
