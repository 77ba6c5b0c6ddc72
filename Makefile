# `make` lists what there is to run. Each target makes the environment it needs (.ci/setup); nothing
# outside this folder is touched, but for a Java that is installed where none is found (.ci/java).

.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:

VENV := .venv
IN = . ./$(VENV)/activate-spark &&

# Two processes, each with a Spark of its own. The tests of a file share what they set up, and stay together; the files
# that take longest come first (tests/conftest.py), so that neither process waits for the other at the end.
PYTEST := pytest -n 2 --dist loadfile --no-loadscope-reorder

# The main environment holds the newest PySpark, and the newest pandas of which PySpark does not warn. RAPIDS needs
# pandas 3, which two lanes try.
MAIN := pandas==2.3.*

# The lanes: the main environment runs everything (`make test`), the others what depends on their versions: the dialects
# inside Spark (SPARK), the emulator aside, which knows neither PySpark nor pandas. The oldest lane is held at the lower
# bounds of pyproject.toml, and tries the batch dialect, the table of results and the compiler too. The newest lane
# takes another Python, the newest PySpark and pandas 3. For a release: `make lane-connect`, the two in Connect. KEEP=
# removes a lane's environment after its tests.
OLDEST := pyspark==4.1.* pandas==2.2.* pyarrow==19.* numpy==2.0.* numba==0.64.*
MIDDLE := pyspark==4.2.* pandas==3.0.*
NEWER := pandas==3.0.*
SPARK := tests/test_udf.py tests/test_expressions.py tests/test_series*.py \
	tests/test_scan_aggregates.py tests/test_scan_tables.py
CORE := $(SPARK) tests/test_map_in_arrow.py tests/test_values.py tests/test_rewrite.py tests/test_plan.py
KEEP := yes
PANDAS3 := -W 'ignore:PySpark does not yet fully support pandas:FutureWarning'
NEWEST := tests/test_compiler.py tests/test_rewrite.py tests/test_arrays.py tests/test_check.py tests/test_contracts.py \
	tests/test_toolchain.py $(SPARK)
TOOLCHAINS := tests/test_machine_code.py tests/test_emulated.py tests/test_properties.py tests/test_cuda.py \
	tests/test_cuda_suite.py tests/test_compiler.py

# The options that choose the cases of `make sweep`.
BEYOND_CORE := from gpuspark.bench.cases import every_case; \
	print(*(f'--case {name}' for name, case in every_case().items() if case.suite == 'full'))

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

setup: ## the environment of every other target: .venv, and a Java
	@.ci/setup $(VENV) '$(MAIN)'

demo: setup ## the flight data of New York 2013, on every device that is here
	@$(IN) gpuspark demo

test: setup ## everything that a change must pass
	@$(MAKE) --no-print-directory lint types & first=$$!; $(MAKE) --no-print-directory spark-classes connect && wait $$first
	@$(MAKE) --no-print-directory unit

quick: setup ## the tests that take less than ten seconds each
	@$(IN) $(PYTEST) -m 'not device and not connect and not slow and not long and not browser'

lint: setup
	@$(IN) ruff check . && ruff format --check --quiet .

types: setup
	@$(IN) mypy

connect: setup
	@$(IN) pytest -m 'connect and not device'

unit: setup c-compiler spark-classes
	@$(IN) $(PYTEST)

# The tests start dozens of Sparks, which takes half the time with it.
spark-classes: setup
	@$(IN) python -m tests.support.spark_classes

page: setup ## the benchmark's page in a headless Chromium, which is installed where none is found
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit; done; .ci/debian chromium
	@$(IN) pytest -m browser tests/test_bench_page.py

# The CUDA device is tried on a stub driver, which the tests compile.
c-compiler:
	@command -v cc >/dev/null || .ci/debian gcc libc6-dev || { echo 'The tests need a C compiler, cc.' >&2; exit 1; }

lanes: lane-oldest lane-middle ## the core tests on older PySpark, and on pandas 2.2 and 3

lane-oldest: PINS = $(OLDEST)
lane-middle: PINS = $(MIDDLE)
lane-oldest: TESTS = $(CORE)
lane-middle: TESTS = $(SPARK) $(PANDAS3)
lane-oldest lane-middle: lane-%:
	@.ci/setup .venv-$* $(foreach pin,$(PINS),'$(pin)')
	@echo "lane $*: $(PINS)"
	@. ./.venv-$*/activate-spark && $(PYTEST) -k 'not emulated' $(TESTS)
	@$(if $(KEEP),,rm -rf .venv-$*)

# Another Python than the main environment's, with the newest of everything: the compiler, and the dialects in Spark.
lane-newest: c-compiler
	@PYTHON=$(or $(PYTHON),3.13) .ci/setup .venv-newest '$(NEWER)'
	@echo "lane newest: Python $(or $(PYTHON),3.13) $(NEWER)"
	@. ./.venv-newest/activate-spark && $(PYTEST) $(NEWEST) $(PANDAS3)
	@$(if $(KEEP),,rm -rf .venv-newest)

# Processors without the newest instructions, as each library lets one play them: functions of mathematics round
# differently there. MASK chooses one of the three.
masked: setup c-compiler ## every test on a lesser processor: MASK=numpy, glibc or numba
	@$(IN) export $$(.ci/mask $(or $(MASK),numpy)) && $(PYTEST)

lane-connect: lanes
	@. ./.venv-oldest/activate-spark && pytest -m 'connect and not device' tests/test_connect.py
	@. ./.venv-middle/activate-spark && pytest -m 'connect and not device' tests/test_connect.py $(PANDAS3)

toolchains: c-compiler ## the compiler with CUDA 13, in an environment of its own
	@EXTRA=toolchains .ci/setup .venv-cuda13
	@. ./.venv-cuda13/activate-spark && GPUSPARK_EXAMPLES=300 pytest -m 'not device and not connect' $(TOOLCHAINS)

evidence: setup c-compiler ## what is proven without a GPU, layer by layer, in one table
	@$(IN) python -m tests.proof.evidence

contracts: c-compiler ## our calls against the real RAPIDS packages, without a GPU: writes the committed records (3 GB to download)
	@.ci/contracts

properties: setup ## one function, every device, one answer: 10,000 generated batches
	@$(IN) GPUSPARK_EXAMPLES=10000 pytest -n 2 tests/test_properties.py tests/test_host_ir.py

expressions: setup ## Spark expressions of the shared bodies over 10,000 rows each, and 2,000 random functions, against Python
	@$(IN) GPUSPARK_ROWS=10000 pytest -n 2 tests/test_spark_rows.py -k expression
	@$(IN) GPUSPARK_PROGRAMS=2000 pytest -n 2 tests/test_spark_rows.py -k random

scans: setup ## scans of 2,000 generated tables against Spark's own reader
	@$(IN) GPUSPARK_TABLES=2000 pytest -n 2 tests/test_scan_tables.py

programs: setup ## 2,000 random programs over random batches, on every device and through the host's compiler
	@$(IN) GPUSPARK_PROGRAMS=2000 pytest -n 2 -m 'not device' tests/test_programs.py

corpus: setup ## every scalar function of the public package fluids against Python: writes docs/corpus.md
	@$(IN) python -m tests.proof.corpus

spark-tests: setup ## Spark's own tests of its functions, plainly and on gpuspark: writes docs/spark-tests.md (half an hour and more)
	@$(IN) python -m tests.proof.spark_own

sabotage: setup ## does every test fail when the code that it guards is broken? (an hour)
	@$(IN) python -m tests.proof.sabotage

bench: setup ## the benchmark, into artifacts/bench: half an hour, or minutes with SUITE=smoke
	@$(IN) gpuspark bench --suite $(or $(SUITE),core)

measure: setup ## the core suite of the benchmark, into docs/performance.md and the README (half an hour, on a quiet machine)
	@$(IN) gpuspark bench --suite core --device cpu --out artifacts/core
	@$(IN) python -m gpuspark.bench.history artifacts/core

sweep: setup ## the cases that only the full suite has, up to 100 million rows, into the same page (half an hour)
	@$(IN) gpuspark bench --rounds 3 --device cpu --out artifacts/larger $$(python -c "$(BEYOND_CORE)")
	@$(IN) python -m gpuspark.bench.history artifacts/larger --larger

spark-settings: setup ## Spark's own settings of the transport to Python, into docs/spark-settings.md (a quarter of an hour)
	@$(IN) python -m gpuspark.bench.spark_settings

dist: setup ## the wheel, the source distribution, and gpuspark.zip for --py-files, under dist/, tried in environments
	@$(IN) pytest -m 'not device' tests/test_packaging.py
	@rm -rf build dist
	@$(IN) python -m build --no-isolation
	@cp dist/gpuspark-*.whl dist/gpuspark.zip

device-suite: ## on a GPU node, in the environment of environment.yml: device tests, benchmark, one log
	@.ci/device-suite

clean: ## removes the environments and everything that was built
	rm -rf .venv .venv-* build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis spark-warehouse

.PHONY: help setup demo test quick page lint types connect unit c-compiler spark-classes lanes lane-oldest lane-connect lane-middle lane-newest masked \
	toolchains evidence contracts properties expressions scans programs corpus spark-tests sabotage bench measure sweep spark-settings dist device-suite clean
