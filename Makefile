# make demo: install, make example data, train, register, promote, serve, score a held-out plate, write a report
# make test: install and run the tests            make check: lint, types, architecture
# make repro: retrain and score what changed; JOBS=8 runs eight cells at a time
# make up / make down: start and stop the MLflow server and the scoring service
# make bento: pack the service as a bento             make image: as a container image
# make install, make example: the first two steps of the demo alone      make clean: remove .venv, .tools and artifacts (DVC's cache stays)

UV_VERSION := 0.13.8
TOOLS := .tools
UV := $(TOOLS)/bin/uv
RUN := $(UV) run --frozen --no-sync
PYTHON ?= python3
CONTAINER ?= podman
JOBS ?= 1

export UV_PROJECT_ENVIRONMENT := .venv
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := 1
export BENTOML_DO_NOT_TRACK := True
export GX_ANALYTICS_ENABLED := false
export RAY_USAGE_STATS_ENABLED := 0
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION := false

.PHONY: help install demo test check format example repro up down bento image clean

help:
	@sed -n '1,6s/^# //p' Makefile

$(UV):
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet uv==$(UV_VERSION)

.venv/.installed: $(UV) pyproject.toml uv.lock
	$(UV) sync --frozen --python "$$(command -v $(PYTHON))" --all-groups --compile-bytecode
	@touch $@

install: .venv/.installed

example: install
	$(RUN) python -m pipelines.make_example

repro: install
	$(RUN) python -m pipelines.repro --jobs $(JOBS)

demo: install
	$(RUN) python -m pipelines.demo

up: install
	$(RUN) python -m pipelines.up start

down: install
	$(RUN) python -m pipelines.up stop

var/requirements.txt: $(UV) pyproject.toml uv.lock
	@mkdir -p var
	$(UV) export --quiet --frozen --no-dev --no-hashes --no-emit-project --extra auth --extra fast --extra postgres --extra s3 -o $@

bento: install var/requirements.txt
	BENTOML_HOME="$${BENTOML_HOME:-$$HOME/bentoml}" PATH="$$PWD/$(TOOLS)/bin:$$PATH" $(RUN) bentoml build

image:
	$(CONTAINER) build --file serving/Containerfile --tag dosewell .

test: install
	$(RUN) pytest

check: install
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) pytest -q tests/test_architecture.py

format: install
	$(RUN) ruff check --fix .

clean:
	rm -rf .venv $(TOOLS) artifacts .mypy_cache .ruff_cache .pytest_cache
