# Every target needs only make and Python 3.11 or newer: it fetches uv and the locked packages by itself.
# Yours count: make test UV=/path/to/uv PYTHON=python3.12, and UV_* variables such as UV_PROJECT_ENVIRONMENT.

PYTHON ?= python3
# A shim can be on the PATH without working, so uv is asked and not only looked for.
ifndef UV
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .uv/bin/uv)
endif
ENVIRONMENT := $(or $(UV_PROJECT_ENVIRONMENT),.venv)
READY := $(ENVIRONMENT)/.synced
RUN := $(UV) run --no-sync

# Drawing thousands of pages takes minutes.
LONG := tests/eval/test_wild_pages.py tests/eval/test_wild_answers.py tests/pages/test_drawn_pages.py \
	tests/scripts/test_bundled_pages.py

.DEFAULT_GOAL := help
.PHONY: help environment demo test long notebooks docs lmms vlmeval browser load fuzz mutants lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

environment: $(READY) ## install the locked packages

demo: $(READY) ## answer questions about the bundled pages with the bundled model; heat maps go to demo/
	$(RUN) lavida demo $(DEMO)

test: lint ## lint, check the types and run the tests
	OMP_NUM_THREADS=1 $(RUN) pytest -q -n 2 $(addprefix --ignore=,$(LONG))

long: $(READY) ## run the tests that take minutes each: two processes, with and without DeepSpeed
	OMP_NUM_THREADS=1 $(RUN) pytest -q -m long
	OMP_NUM_THREADS=1 $(RUN) pytest -q -n 2 $(LONG)

notebooks: $(READY) ## run the notebooks, and keep what they show
	OMP_NUM_THREADS=1 $(RUN) pytest -q -n 2 --nbmake --nbmake-timeout=600 --overwrite notebooks

docs: $(READY) ## build the documents in build/docs; a broken link or docstring is an error
	$(RUN) python -m scripts.build_docs

lmms: | $(filter .uv/bin/uv,$(UV)) ## run the tests that need lmms-eval, in an environment of their own
	$(UV) run --isolated --locked --extra dev --extra lmms pytest -q tests/eval/test_lmms.py tests/eval/test_lmms_run.py tests/eval/test_lmms_chat.py

vlmeval: | $(filter .uv/bin/uv,$(UV)) ## run the tests that need VLMEvalKit, in an environment of their own
	$(UV) run --isolated --locked --extra dev --with ms-vlmeval==0.0.20 pytest -q tests/eval/test_vlmeval.py tests/eval/test_vlmeval_run.py

browser: | $(filter .uv/bin/uv,$(UV)) ## ask on the web page in Chromium, in an environment of its own; pictures go to build/browser
	@command -v chromium >/dev/null || (apt-get update -q && apt-get install -q -y chromium)
	$(UV) run --isolated --locked --extra browser pytest -q -o addopts= -p no:cacheprovider tests/server/test_page.py

load: $(READY) ## load the server on loopback; numbers go to docs/results/serve
	$(RUN) python -m scripts.load_server --out docs/results/serve/load.json

fuzz: $(READY) ## damage files, settings and records for an hour or so, and see that each is taken or refused
	$(RUN) pytest -q -n 2 tests/fuzz --hypothesis-profile=long

mutants: | $(filter .uv/bin/uv,$(UV)) ## change the code on purpose, place by place, and see whether tests notice: hours; MUTANTS="--sample 100"
	OMP_NUM_THREADS=1 $(UV) run --isolated --locked --extra dev --with cosmic-ray==8.7.0 python -m scripts.mutants $(MUTANTS)

lint: $(READY) ## check style, format and types; change nothing
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy llava shirg lavida_shirg_integration.py scripts

format: $(READY) ## mend what the linter can mend, and format
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

clean: ## remove outputs and caches; the environment stays
	rm -rf demo build dist .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find llava shirg scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf __pycache__

$(READY): pyproject.toml uv.lock | $(filter .uv/bin/uv,$(UV))
	$(UV) sync --locked --extra dev
	@touch $@

# Some systems ship Python without venv; there uv goes to the user's own packages and is linked from here.
.uv/bin/uv:
	@if $(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet uv; then :; else \
		rm -rf .uv && mkdir -p .uv/bin && \
		$(PYTHON) -m pip install --quiet --user uv && \
		ln -s "$$($(PYTHON) -c 'import uv; print(uv.find_uv_bin())')" $@; \
	fi || { rm -rf .uv; echo "uv could not be installed; see https://docs.astral.sh/uv and set UV=" >&2; exit 1; }
