# Everything runs in .venv, which `make` builds from pyproject.toml with any Python from 3.11 on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# BUILD is for what a build needs on this machine, such as --network host.
.PHONY: demo test test-busy test-page chaos streams signals crashes limits floods fuzz fuzz-records lengthy verdicts doctor-truth soak \
	docs picture readme lint format \
	wheel wheels image image-slo test-image bench bench-instructions bench-start bench-page bench-neighbours bench-scale bench-watching \
	ramp-rates sanitize clean

demo: $(VENV)/installed
	$(BIN)/loadkit blast -c 2k -R 10k -d 10s --slo 'latency.p99<50ms' --slo errors==0 -o run.json

# Most of a test's time is waiting: four at a time on two cores. What measures a busy machine itself is tested alone, by
# `make chaos`.
CHAOS := tests/hostile tests/cli/test_streams.py tests/engine/test_floods.py tests/engine/test_fuzz.py \
	tests/engine/test_hostile_peers.py tests/process/test_crashes.py tests/process/test_limits.py \
	tests/process/test_orphans.py tests/process/test_serve_limit.py tests/process/test_signals.py
ALONE := tests/truth/test_doctor.py tests/truth/test_scale.py tests/truth/test_verdicts.py tests/truth/test_wakeups.py \
	tests/truth/test_witness.py
test: $(VENV)/installed
	$(BIN)/python -m pytest -n 4 --dist loadfile --ignore tests/truth --ignore tests/browser $(CHAOS:%=--ignore %) -m "not lengthy"
	$(BIN)/python -m pytest -n 4 tests/truth $(ALONE:%=--ignore %) -m "not lengthy"

# Samples of what must not end, hang or mislead loadkit: hostile peers and records, signals, limits, streams, sabotaged
# runs. The whole of each is one of the targets below.
chaos: $(VENV)/installed
	$(BIN)/python -m pytest -n 4 --dist loadfile $(CHAOS) -m "not lengthy"
	$(BIN)/python -m pytest $(ALONE) -m "not quiet and not lengthy"

# The suite beside two busy loops, RUNS times.
RUNS ?= 1
test-busy: $(VENV)/installed
	for run in $$(seq $(RUNS)); do $(BIN)/python tests/beside_busy_loops.py $(MAKE) test || exit; done

# Every command with every standard stream closed, full, without a reader and not read: two minutes.
streams: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 tests/cli/test_streams.py

# Sound runs and sabotaged ones, none of which may be judged wrongly: three minutes. On a machine with nothing else to
# do: where other work disturbs a sound run, it passes if a witness of the machine confirms it, which is printed.
verdicts: $(VENV)/installed
	$(BIN)/python -m pytest tests/truth/test_witness.py tests/truth/test_verdicts.py

# Runs whose target goes, and rates far above what both ends can do, on every engine: a minute.
lengthy: $(VENV)/installed
	$(BIN)/python -m pytest -m lengthy tests/truth/test_ending.py tests/truth/test_memory.py

# That the parent of a run takes no more memory after ten minutes than after two: eleven minutes.
soak: $(VENV)/installed
	$(BIN)/python -m pytest -s --timeout 900 tests/bench/soak.py

# Whether what the doctor says can run does, what it says cannot does not, and does with each fix: namespaces, rlimits and
# control groups of its own, as root. Some minutes.
doctor-truth: $(VENV)/installed
	$(BIN)/python -m pytest --timeout 600 tests/truth/test_doctor.py

# Each of five signals 200 times to a blast and to a server, spread evenly over their first second: three minutes.
signals: $(VENV)/installed
	$(BIN)/python -m pytest tests/process/test_signals.py -k first_second --signals 400 --timeout 600

# Runs of every engine whose worker or forker is killed, or that a signal ends, in each stage: a minute.
crashes: $(VENV)/installed
	$(BIN)/python -m pytest tests/process/test_crashes.py -m lengthy

# Commands under every small limit of a process, with and without /proc: the suite has a sample. Root runs all of it.
limits: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 tests/process/every_limit.py

# Warnings of the compiler are errors here, and not where it is installed: another compiler knows other ones.
NATIVE := loadkit/engine/native
C_SOURCES := $(wildcard $(NATIVE)/*.c) loadkit/engine/aio/hook.c
C_FILES := $(C_SOURCES) $(wildcard $(NATIVE)/*.h)
C_INCLUDE = -I$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
# docs/record.md and the JSON schemas, out of the structs. The suite fails where they are not what these say.
docs: $(VENV)/installed
	$(BIN)/python -m pytest tests/golden/test_record_docs.py --update-golden

# Pages of runs in a real Chromium (Debian: chromium): light, dark, on paper, on a phone, without scripts, and served as
# Jenkins serves them. Half a minute; skipped where it is not installed.
test-page: $(VENV)/installed
	$(BIN)/python -m pytest tests/browser

# They share with the tests what these share with each other.
bench bench-start bench-page bench-watching bench-neighbours bench-wires bench-instructions bench-scale ramp-rates: \
	export PYTHONPATH := $(CURDIR)

# What a page costs to write, in CPU time and bytes: the best of ten, of made-up runs of a minute, quiet and disturbed, and
# an hour, and of real ones: make bench-page RECORDS="a.json b.json".
bench-page: $(VENV)/installed
	$(BIN)/python tests/bench/html_page.py $(RECORDS)

# The picture of a page in README.md and docs/, from a run that is made for it: on a machine with nothing else to do.
picture: $(VENV)/installed
	mkdir -p build/picture
	$(BIN)/loadkit blast -c 2k -R 10k -d 30s --slo 'latency.p99<50ms' --slo errors==0 --no-progress -o build/picture/run.html
	PYTHONPATH=. $(BIN)/python tests/browser/picture.py build/picture/run.html docs/report.png

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	mkdir -p build
	gcc -Werror -O2 -std=gnu11 -Wall -Wextra -fvisibility=hidden -fPIC -shared -o build/lint.so $(C_SOURCES) $(C_INCLUDE) -lm
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema github-workflows-require-timeout .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet .github/workflows

format: $(VENV)/installed
	$(BIN)/clang-format -i $(C_FILES)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The source archive, a wheel from it alone, and that wheel at work in a virtual environment of its own: what is missing
# from either of them, the compiled engine not least, fails here.
WHEEL := build/wheel
wheel: $(VENV)/installed
	rm -rf $(WHEEL) dist
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv $(WHEEL)
	$(WHEEL)/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd $(WHEEL) && bin/loadkit blast --engine native -c 10 -n 100 --slo errors==0 --no-progress -o run.json
	cd $(WHEEL) && bin/loadkit report run.json -o run.md -o run.xml > /dev/null

# The chapter Install of README.md, as it stands there, in a copy of what git has of this checkout.
readme: $(VENV)/installed
	rm -rf build/readme
	mkdir -p build/readme
	git ls-files -z | tar --create --null --files-from - | tar --extract --directory build/readme
	$(BIN)/python -c 'from tests.pages import blocks, chapter; print(blocks(chapter("README", "Install"))[0].text)' \
		> build/readme/install
	cd build/readme && sh -eux install

# Wheels that run on other distributions, to be published: cibuildwheel builds and tests them in manylinux's images, so it
# needs a container engine that may fetch these. pyproject.toml says which.
wheels: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'cibuildwheel>=3.0'
	$(BIN)/cibuildwheel --platform linux --output-dir dist/wheels

# What the image promises, in containers of it. with-engine takes the Docker engine that is running, or starts one.
test-image: $(VENV)/installed
	tests/image/with-engine $(BIN)/python -m pytest --timeout 300 tests/image/checks.py

# The image against itself: both ends in one container without a network, held to SLOs that a small busy machine can meet.
# The record, Markdown and JUnit are left in build/image-slo, and in a step of GitHub Actions the job summary.
IMAGE ?= loadkit
DOCKER ?= docker
SUMMARY := $(if $(GITHUB_STEP_SUMMARY),--env GITHUB_STEP_SUMMARY --volume "$(GITHUB_STEP_SUMMARY):$(GITHUB_STEP_SUMMARY)")
image:
	$(DOCKER) build $(BUILD) --tag $(IMAGE) .

image-slo: image
	mkdir -p build/image-slo
	$(DOCKER) run --rm --network none --user "$$(id -u):$$(id -g)" --volume "$(CURDIR)/build/image-slo:/out" $(SUMMARY) \
		$(IMAGE) blast -c 200 -R 2k -d 10s --slo 'latency.p99<100ms' --slo errors==0 --no-progress \
		-o /out/run.json -o /out/run.md -o /out/run.xml $(if $(SUMMARY),--github)

# The compiled core's tests with gcc's AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer. The core goes to
# build/sanitize, where tests/engine/sanitize.py has it loaded from; the one in the source tree stays as it is. Python is
# not built with them, so their runtime has to be loaded ahead of it. --capture=sys and no faulthandler: what ends the
# process has to be read on the terminal. The leaks at exit are CPython's; sanitize.py asks for ours before that, and
# tells them by the file (%m) of a frame.
SANITIZED := build/sanitize
sanitize: $(VENV)/installed
	rm -rf $(SANITIZED)
	mkdir -p $(SANITIZED)
	gcc -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -O1 -std=gnu11 -Wall \
		-Wextra -fvisibility=hidden -fPIC -shared -o $(SANITIZED)/_core.abi3.so $(wildcard $(NATIVE)/*.c) \
		$(C_INCLUDE) -lm
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
		ASAN_OPTIONS='detect_leaks=1:detect_stack_use_after_return=1:stack_trace_format="    #%n %f %S (%m)"' \
		LSAN_OPTIONS=leak_check_at_exit=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc \
		$(BIN)/python -m pytest -p tests.engine.sanitize -p no:faulthandler --capture=sys tests/engine tests/unit/test_framings.py tests/unit/test_check.py -k "native or framings or check"

# Records with any value in any place, through every format and the merge: EXAMPLES of each kind, others each time. The
# suite has a sample of them. What fails is kept in .hypothesis and tried first the next time.
EXAMPLES ?= 3000
fuzz-records: $(VENV)/installed
	FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/hostile/test_records.py -n 2 --timeout 0 \
		--hypothesis-profile fuzz-records

# Random peers of the serve end and random trailers of the blast end: 100 seeds instead of the suite's one, two minutes.
fuzz: $(VENV)/installed
	LOADKIT_FUZZ=100 $(BIN)/python -m pytest tests/engine/test_fuzz.py

# The CPU time of a worker's longest turn under floods of as many connections as there may be file descriptors.
floods: $(VENV)/installed
	LOADKIT_FLOOD=whole $(BIN)/python -m pytest --timeout 600 -s tests/engine/test_floods.py

# One after the other: two measurements at once measure each other. The tables go into docs/performance.md as well.
bench: $(VENV)/installed
	$(BIN)/python tests/bench/page.py recording memory throughput bulk cpu lateness wakeups options

# CPU time of `import loadkit` and of --help: half a minute.
bench-start: $(VENV)/installed
	$(BIN)/python tests/bench/start.py

# What --metrics, at a scrape per second, and --live cost the process that watches over a run: a minute and a half.
bench-watching: $(VENV)/installed
	$(BIN)/python tests/bench/page.py watching

# A server that is not loadkit's on the same machine: apart from the others, which pin both ends.
bench-neighbours: $(VENV)/installed
	cd tests/bench && ../../$(BIN)/python neighbours.py

# Framed replies (--expect) against echoes, native and uvloop: five minutes. Apart, as others of its kind pin both ends.
bench-wires: $(VENV)/installed
	cd tests/bench && ../../$(BIN)/python wires.py

# Counted by valgrind's callgrind instead of timed: three minutes.
bench-instructions: $(VENV)/installed
	cd tests/bench && ../../$(BIN)/python instructions.py

# With LOADKIT_BENCH_1M=1 a million connections too: 10 GiB of memory.
bench-scale: $(VENV)/installed
	$(BIN)/python tests/bench/page.py scale

# Whether asked connect rates are kept, in each tenth of a ramp: a quarter of an hour, and nothing else may run meanwhile.
ramp-rates: $(VENV)/installed
	cd tests/bench && ../../$(BIN)/python ramp.py

$(VENV)/installed: pyproject.toml setup.py $(wildcard loadkit/engine/native/*.[ch] loadkit/engine/aio/*.c)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
