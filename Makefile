# cropmark: `make` lists the targets. The only requirement is Python 3.11 or later.
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8000
MINUTES ?= 10
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help run test check conformance bench soak fuzz docs sbom eval-smart lock format setup-run setup-dev

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup-run:
	@tools/setup run

setup-dev:
	@tools/setup dev

run: setup-run ## install and serve the sample images
	@$(BIN)/cropmark serve examples/images --port $(PORT)

test: setup-dev ## install and run the tests
	@$(BIN)/python -m pytest

check: setup-dev ## lint, types, import contracts, language, generated documents
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/language.py
	@$(BIN)/python tools/documents.py --check
	@$(BIN)/python tools/sbom.py --check

conformance: setup-dev ## run the dialects' cases against a started server
	@$(BIN)/python tests/conformance/against_server.py

bench: setup-dev ## measure against other image servers, write benchmarks/RESULTS.md
	@$(BIN)/python benchmarks/run.py

soak: setup-dev ## ten minutes of mixed load with failures, write benchmarks/RESULTS.md
	@PYTHONPATH=. $(BIN)/python benchmarks/soak.py --minutes $(MINUTES)

fuzz: setup-dev ## send mutated images to a renderer until Ctrl-C; saves those that end it
	@$(BIN)/python -m tests.hostile.fuzz

sbom: setup-dev ## write docs/sbom.json, the native libraries inside the wheels
	@$(BIN)/python tools/sbom.py

eval-smart: setup-dev ## score smart crops on the annotated photographs
	@$(BIN)/python benchmarks/eval_smart.py

docs: setup-dev ## write the generated documents
	@$(BIN)/python tools/documents.py

format: setup-dev ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: setup-dev ## pin the dependencies of pyproject.toml with hashes
	@tools/lock
