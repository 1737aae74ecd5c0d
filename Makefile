# Every target sets itself up: a virtual environment in .venv with the library built and installed
# as a user has it (the tests never see src/). As root on Debian or Ubuntu, missing packages are
# installed; elsewhere the command to install them is printed.

PYTHON ?= python3
PY = .venv/bin/python
KERNELS ?= all
SECONDS ?= 600
SOURCES := $(shell find src include -name '*.py' -o -name '*.pyi' -o -name '*.c' -o -name '*.h')

# Where sudo has made .venv, say so and do not fail in the middle of a build.
ifneq ($(and $(wildcard .venv),$(filter-out help,$(or $(MAKECMDGOALS),help))),)
ifeq ($(shell test -w .venv && echo yes),)
$(error .venv belongs to another user: use sudo again, or remove it)
endif
endif

.PHONY: help demo test test-kernels test-arm64 test-packaging fuzz lint bench wheel clean

help:
	@echo "make demo            the programs that this machine executes, live (as root)"
	@echo "make test            unit tests; as root also the kernel tests on this kernel"
	@echo "make test-kernels    the kernel tests in VMs, and docs/kernels.md of what works on which;"
	@echo "                     KERNELS=\"5.10 6.12\" for some (of 5.10 6.1 6.12 7.x), not written"
	@echo "make test-arm64      unit and kernel tests in an emulated arm64 machine"
	@echo "make test-packaging  wheel, sdist, embedding, header sets, cross compilers"
	@echo "make fuzz            damaged files for every reader (SECONDS=600 each; nightly)"
	@echo "make lint            ruff and mypy --strict"
	@echo "make bench           the figures of docs/performance.md, beside C"
	@echo "make wheel           dist/*.whl and dist/*.tar.gz"

# A new venv when the interpreter is another one; the wheel anew when a source is newer.
SITE := $(shell $(PYTHON) -c 'import sysconfig as s; \
    print(s.get_path("purelib", "posix_prefix", {"base": ".venv"}))' 2>/dev/null)
ifeq ($(wildcard $(or $(SITE),.venv)),)
.PHONY: .venv/created
endif
.venv/created: .ci/setup
	@.ci/setup build
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@touch $@

.venv/installed: .venv/created pyproject.toml setup.py build_ffi.py $(SOURCES)
	@.ci/setup build
	@rm -rf build src/ebpf/_ffi.c
	@$(PY) -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps .
	@$(PY) -m pip install --quiet --disable-pip-version-check cffi
	@touch $@

.venv/tools: .venv/installed
	@$(PY) -m pip install --quiet --disable-pip-version-check \
	    --group test --group lint --group build --group vm
	@touch $@

demo:
	@if [ "$$(id -u)" != 0 ]; then echo "make demo attaches to the kernel: run it as root"; exit 1; fi
	@[ -e .venv/installed ] || echo "make demo: first builds the library into .venv: a minute"
	@$(MAKE) --silent .venv/installed
	$(PY) examples/execsnoop.py -- sh -c 'uname -sr; ls / | head -3; exit 7' || [ $$? = 7 ]

test: .venv/tools
	@if [ "$$(id -u)" = 0 ]; then .ci/setup test; fi
	@$(PY) -m tests

test-kernels: .venv/tools
	@.ci/setup vm
	$(PY) -m tests.matrix --write $(KERNELS)

test-arm64: .venv/tools
	@.ci/setup arm64
	$(PY) -m tests.vm --arch arm64 --timeout 14400 -- \
	    python3 tests/vm/build_and_test.py tests/unit tests/kernel

test-packaging: .venv/tools
	$(PY) -m pytest tests/packaging

# bash counts a SECONDS of its own, which it does not export.
fuzz: .venv/tools
	@if [ "$$(id -u)" = 0 ]; then .ci/setup test; fi
	@$(PY) -m pip install --quiet --disable-pip-version-check --group fuzz
	$(PY) -m tests.fuzz --seconds $(SECONDS) $(if $(CORPUS),--corpus $(CORPUS))

lint: .venv/tools
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: .venv/tools
	$(PY) -m benchmarks

wheel: .venv/tools
	$(PY) -m build --outdir dist .

clean:
	rm -rf .venv build dist src/*.egg-info src/ebpf/_ffi.c
