# make app   sets up .venv, prepares the demo and opens the pages
# make lint  style and types alone, in seconds
# make test  the same set-up and what tests need, then make lint and all tests
# make test-slow kills, damages, loads and fuzzes the product in numbers, and drives Explore on 60,000 images (at most 45 minutes)
# make docs  builds the documentation into build/docs; any warning fails
# make bench measures each step beside its rivals and writes docs/benchmarks.md and docs/scale.md (an hour)
# make compat tries networks and images of others, and writes docs/compatibility.md
# make walk  plants a shortcut, trains on it, and records docs/images/walk.gif (20 minutes)
# make lock  writes the lock files anew, after a change in requirements*.txt
# TORCH=FILE installs PyTorch from a requirements file of yours instead of requirements-torch.lock

PYTHON ?= python3
BIN := .venv/bin
TORCH ?= requirements-torch.lock
# the locks are complete, and what they lock comes as wheels: nothing is built, nothing unlocked is fetched
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --only-binary :all:
# numba would give PyTorch a thread for each core again once UMAP has run, and workers would wait for each other's
ONE_THREAD := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1
# glibc keeps the memory that PyTorch frees after every layer, instead of giving it back to the system and asking anew
KEEP_MEMORY := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=2000000000 MALLOC_TOP_PAD_=67108864

.PHONY: app lint test test-slow docs bench compat walk lock

app: .venv/demo
	$(BIN)/streamlit run app/Home.py

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint .venv/installed-npm
	sh tests/install_chromium.sh
	$(ONE_THREAD) $(KEEP_MEMORY) $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

test-slow: .venv/installed-dev
	sh tests/install_chromium.sh
	$(BIN)/pytest -m slow tests

docs: .venv/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: .venv/installed-bench
	sh tests/install_chromium.sh
	$(BIN)/python -m benchmarks

compat: .venv/installed-dev
	$(BIN)/python tools/compat.py

walk: .venv/installed-dev
	sh tests/install_chromium.sh
	$(ONE_THREAD) $(KEEP_MEMORY) $(BIN)/python tools/shortcut_walk.py build/walk
	$(ONE_THREAD) $(KEEP_MEMORY) $(BIN)/python tools/walk_recording.py build/walk

lock: .venv/installed-dev
	$(BIN)/python tools/lock.py

.venv/installed: requirements.lock $(TORCH)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; name it with: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) -r $(TORCH)
	touch $@

.venv/installed-dev: requirements-dev.lock .venv/installed
	$(INSTALL) --require-hashes -r requirements-dev.lock
	touch $@

.venv/installed-bench: requirements-bench.lock .venv/installed-dev
	$(INSTALL) --require-hashes -r requirements-bench.lock
	touch $@

.venv/installed-npm: package.json .venv/installed-dev
	@npm install --no-audit --no-fund --silent --fetch-retries 1 --fetch-timeout 20000 || \
	  echo "npm is missing or finds nothing: the JavaScript is neither typed, formatted nor bundled anew." >&2
	touch $@

.venv/demo: .venv/installed kmex_core/demo/digits.safetensors
	$(BIN)/python -m kmex_core demo
	touch $@
