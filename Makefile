# Few verbs; each creates and uses .venv.
PYTHON ?= python3
BIN := .venv/bin
JS := tests/clients/js

.PHONY: install demo run check test chaos soak bench bench-rivals fmt clean

install: .venv/.installed
demo: .venv/.demo

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

# `make run` needs no compiler, no Debian package and no developer's tool.
.venv/.demo: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet -e ".[demo]"
	@touch $@

.venv/.installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	$(BIN)/python -m pip install --quiet --upgrade --no-warn-conflicts --target .venv/huggingface_hub-0.36 "huggingface_hub==0.36.*"
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target .venv/rev_ai-2.21 "rev_ai==2.21.*"
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target .venv/fireworks_ai-0.19 "fireworks-ai==0.19.20" toml betterproto-fw asyncstdlib-fw grpclib h2 hpack hyperframe
	@touch $@ .venv/.demo

# After the system's tools: node may be among what they install.
$(JS)/node_modules/.package-lock.json: $(JS)/package-lock.json
	cd $(JS) && npm ci --no-audit --no-fund --silent

run: .venv/.demo
	$(BIN)/asr-gateway serve --demo

fmt: .venv/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: .venv/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: .venv/.installed
	$(BIN)/python tests/system_tools.py
	$(MAKE) --no-print-directory $(JS)/node_modules/.package-lock.json
	$(BIN)/python -m pytest -n auto --dist loadscope

# The trials of tests/chaos at their full length, one after the other, with their figures. About twelve minutes.
chaos: .venv/.installed
	$(BIN)/python tests/system_tools.py
	ASR_CHAOS_FULL=1 $(BIN)/python -m pytest tests/chaos -q -s -p no:randomly --timeout 300

# Mixed traffic before upstreams that break, with what is held at the end beside what was at the start. MINUTES=5: a try.
MINUTES ?= 30
soak: .venv/.installed
	ASR_SOAK_MINUTES=$(MINUTES) $(BIN)/python -m pytest tests/chaos/test_soak.py -q -s -p no:randomly

# Beside nginx, a bare relay, and what bench-rivals has installed; writes docs/benchmarks.md. A quarter of an hour, on a
# machine that does nothing else. SHORT=1: a try of a minute or two, which writes under build/bench.
bench: .venv/.installed
	$(BIN)/python tests/system_tools.py
	BENCH_SHORT=$(SHORT) $(BIN)/python -m tests.bench

# Other gateways, each in a place of its own. Some minutes and 1 GB; nothing but `make bench` uses them.
bench-rivals:
	$(PYTHON) -m venv .venv/bench-litellm
	.venv/bench-litellm/bin/pip install --quiet "litellm[proxy]==1.108.7"
	npm install --prefix .venv/bench-portkey --no-audit --no-fund --silent @portkey-ai/gateway@1.15.2

clean:
	rm -rf .venv $(JS)/node_modules build dist .pytest_cache .mypy_cache .ruff_cache
