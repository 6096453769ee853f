# The project's commands; `make help` lists them.
SHELL := /bin/bash
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where nothing compiled is kept, each process of the tests compiles all of them.
unexport PYTHONDONTWRITEBYTECODE
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
# A lock is complete: nothing is resolved, so that a release of tomorrow changes nothing.
INSTALL_LOCK := $(PIP) install -q --no-deps --require-hashes

.PHONY: help setup demo test test-others test-fast test-conformance test-api test-node test-long \
	test-cluster soak check lock bench bench-admission cluster golden screenshots clean
.DEFAULT_GOAL := help

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## make the virtual environment from the locked requirements

$(VENV)/.requirements: requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; set PYTHON=/path/to/it" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		{ apt-get update -q && apt-get install -y -q python3-venv; }; } || \
		{ echo "this Python cannot make a virtual environment: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(INSTALL_LOCK) -r requirements/dev.txt
	$(PIP) check
	@touch $@

$(STAMP): $(VENV)/.requirements pyproject.toml
	$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## the main job in two minutes, without root or a cluster
	@$(BIN)/python -m examples.demo

test: $(STAMP)  ## all tests; those in the real cluster need root
	$(BIN)/python -m tests.cluster --prepare
	@echo "test-node runs beside the others, and is shown at its end"
	@$(MAKE) --no-print-directory -j2 --keep-going --output-sync=target test-node test-others

# The node's take longest, and wait most of it: the others are nice to them.
test-others:
	@failed=0; for part in test-fast test-conformance test-api; do \
		nice $(MAKE) --no-print-directory $$part || failed=1; done; exit $$failed

test-fast: $(STAMP)  ## those without real clients or a cluster
	$(BIN)/python -m pytest -n 3 --ignore=tests/conformance --ignore=tests/cluster

# In one process: what several tests ask of a client is measured once.
test-conformance: $(STAMP)  ## those with real clients and servers, and the official suite
	$(BIN)/python -m pytest tests/conformance

test-api: $(STAMP)  ## those that need an API server and no node
	$(BIN)/python -m pytest tests/cluster -m 'not node and not long'

test-node: $(STAMP)  ## those on the real node; as root
	$(BIN)/python -m pytest tests/cluster -m 'node and not long'

test-long: $(STAMP)  ## what takes minutes: many requests, connections and bytes
	$(BIN)/python -m pytest -m long -s

soak: $(STAMP)  ## half an hour of requests with faults; nothing may grow (MINUTES=30)
	$(BIN)/python -m tests.proxy.long.soak $(MINUTES)

test-cluster: $(STAMP)  ## both of those; K8S=1.33, 1.35 or 1.36 is another Kubernetes
	$(BIN)/python -m pytest tests/cluster

check: $(STAMP)  ## style, types and layers, in seconds
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(STAMP) $(VENV)/.bench  ## how fast and small it is, beside others (needs wrk; minutes)
	@command -v wrk >/dev/null || apt-get install -y -q wrk
	@$(BIN)/python -m benchmarks

$(VENV)/.bench: requirements/bench.txt $(VENV)/.requirements
	$(INSTALL_LOCK) -r requirements/bench.txt
	$(PIP) check
	@touch $@

bench-admission: $(STAMP)  ## how fast pods are admitted, in the real cluster; needs root
	@$(BIN)/python -m benchmarks.admission

cluster: $(STAMP)  ## a real one-node Kubernetes, until Ctrl-C; needs root
	@$(BIN)/python -m tests.cluster

golden: $(STAMP)  ## write the golden pods and the PrometheusRule anew; read the difference
	$(BIN)/python -m tests.injector.golden
	$(BIN)/python -m tests.manifests.monitoring

screenshots: $(STAMP)  ## the pictures of the approvals page in docs/images (best with root)
	@fc-list 2>/dev/null | grep -q JetBrains || \
		apt-get install -y -q --no-install-recommends fonts-inter fonts-jetbrains-mono
	$(BIN)/python -m tests.proxy.listeners.approvals.screenshots

# Not the modules of Go and npm below tests/: those are named by version, to be raised by hand.
lock: $(STAMP)  ## resolve all requirements/*.txt anew, and say what changed
	@$(BIN)/python -m requirements.lock

clean:  ## remove what the commands made in this folder
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
