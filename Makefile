.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two files at a time, those that take longest first: most of the suite is waiting, on 2 cores too.
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile --no-loadscope-reorder
BESIDE_A_SERVER := $(BIN)/python tests/support/ecs_stand_in.py

.PHONY: help
help: ## show the targets
	@grep -hE '^[a-z%/-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

$(VENV)/installed: requirements.lock pyproject.toml scripts/install.sh scripts/install_torch.sh
	scripts/install.sh $(PYTHON) $(VENV)
	@touch $@

.PHONY: install
install: $(VENV)/installed ## create .venv from the lock, torch included

.PHONY: engine
engine: ## see to a Docker engine, or say what is then not checked
	scripts/ensure_docker.sh

.PHONY: demo
demo: install engine ## from nothing to a verified image: train, build, start, ask, verify (quick)
	$(BIN)/custom-image demo

.PHONY: test
test: install engine ## the whole suite with compressed waits, about 35 minutes on 2 cores
	$(BIN)/pytest $(SIDE_BY_SIDE)

.PHONY: test-full
test-full: install engine ## the suite with the platform's true waits (60, 90, 200 s)
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "true_time or not true_time"

.PHONY: lint
lint: install ## ruff, mypy, import-linter, hadolint, shellcheck, codespell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	git ls-files '*Dockerfile' | xargs $(BIN)/hadolint
	git ls-files '*.sh' .ci/run | xargs $(BIN)/shellcheck
	$(BIN)/codespell

.PHONY: notebooks
notebooks: install engine ## run the notebooks at level full and keep their outputs, cleaned and stamped
	$(BIN)/custom-image notebooks refresh image_saving --in-instance
	$(BIN)/custom-image notebooks refresh dockerfile_build
	$(BESIDE_A_SERVER) $(BIN)/custom-image notebooks refresh ecs_build

.PHONY: notebooks-check
notebooks-check: install engine ## run the notebooks headless as CI does; nothing in the tree changes
	$(BIN)/custom-image notebooks run image_saving --parameters ci
	$(BIN)/custom-image notebooks run dockerfile_build --parameters ci --again ship:generation=v1
	$(BESIDE_A_SERVER) $(BIN)/custom-image notebooks run ecs_build --parameters ci

.PHONY: bench-serving
bench-serving: install ## compare the serving runtime with its peers, side by side in one run
	$(BIN)/python -m benchmarks.serving

.PHONY: lock
lock: install ## resolve requirements.lock and docker/requirements/*/*.txt anew
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --extra dev --unsafe-package torch \
	  --unsafe-package modelarts-custom-image \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options --no-header \
	  --output-file requirements.lock pyproject.toml
	$(BIN)/python -m custom_image.wheelhouse

.PHONY: wheel
wheel: ## make build/dist/*.whl, to install anywhere: README.md; needs nothing but Python
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir build/dist .

.PHONY: clean
clean: ## remove build/, keeping what was downloaded
	[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name mnist ! -name wheelhouse -exec rm -rf {} +

.PHONY: clean-containers
clean-containers: ## remove containers this tool left, found by their label
	$(BIN)/custom-image clean

.PHONY: demo-picture
demo-picture: install engine ## renew the picture of the README from a real run
	COLUMNS=102 script -qec '$(BIN)/custom-image demo 2>build/demo.log' /dev/null | $(BIN)/python scripts/demo_picture.py >.github/demo.svg 2>/dev/null
