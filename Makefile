# Everything runs in .venv, which `make` builds from pyproject.toml with any Python from 3.11 on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint format bench bench-scale sanitize clean

demo: $(VENV)/installed
	$(BIN)/loadkit blast -c 10k -d 10s -o run.json

test: $(VENV)/installed
	$(BIN)/python -m pytest

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The compiled core's tests with gcc's AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer. The core goes to
# build/sanitize, where tests/engine/sanitize.py has it loaded from; the one in the source tree stays as it is. Python is
# not built with them, so their runtime has to be loaded ahead of it. --capture=sys and no faulthandler: what ends the
# process has to be read on the terminal. The leaks at exit are CPython's; sanitize.py asks for ours before that, and
# tells them by the file (%m) of a frame.
NATIVE := loadkit/engine/native
SANITIZED := build/sanitize
sanitize: $(VENV)/installed
	rm -rf $(SANITIZED)
	mkdir -p $(SANITIZED)
	gcc -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -O1 -std=gnu11 -Wall \
		-Wextra -fvisibility=hidden -fPIC -shared -o $(SANITIZED)/_core.abi3.so $(wildcard $(NATIVE)/*.c) \
		-I$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))') -lm
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
		ASAN_OPTIONS='detect_leaks=1:detect_stack_use_after_return=1:stack_trace_format="    #%n %f %S (%m)"' \
		LSAN_OPTIONS=leak_check_at_exit=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc \
		$(BIN)/python -m pytest -p tests.engine.sanitize -p no:faulthandler --capture=sys tests/engine -k native

# One after the other: two measurements at once measure each other.
bench: $(VENV)/installed
	cd tests/bench && status=0; for part in recording memory throughput bulk cpu lateness wakeups options; do \
		../../$(BIN)/python $$part.py || status=1; done; exit $$status

# With LOADKIT_BENCH_1M=1 a million connections too: 10 GiB of memory.
bench-scale: $(VENV)/installed
	cd tests/bench && ../../$(BIN)/python scale.py

$(VENV)/installed: pyproject.toml $(wildcard loadkit/engine/native/*.[ch] loadkit/engine/aio/*.c)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
