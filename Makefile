# cropmark: `make` lists the targets. The only requirement is Python 3.11 or later.
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8000
MINUTES ?= 10
export PYTHON

.DEFAULT_GOAL := help
.PHONY: setup-run setup-dev $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' $(firstword $(MAKEFILE_LIST)))

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

bench-quick: setup-dev ## compare the CPU time of ten tasks with benchmarks/quick.json, in two minutes
	@$(BIN)/python benchmarks/quick.py

bench-replay: setup-dev ## replay a log of 5,000 lines between two servers, write benchmarks/REPLAY.md
	@PYTHONPATH=. $(BIN)/python benchmarks/replay.py

bench-import: setup-dev ## import exports of 2,000 assets and request all their old URLs
	@PYTHONPATH=. $(BIN)/python benchmarks/import_site.py

bench-scaling: setup-dev ## one server against two, one front against two, write benchmarks/RESULTS.md
	@PYTHONPATH=. $(BIN)/python benchmarks/scaling.py

soak: setup-dev ## ten minutes of mixed load with failures, write benchmarks/RESULTS.md
	@PYTHONPATH=. $(BIN)/python benchmarks/soak.py --minutes $(MINUTES)

fleet-soak: setup-dev ## five minutes of load on two servers while each part of their fleet is killed
	@PYTHONPATH=. $(BIN)/python benchmarks/fleet_soak.py

batch-trial: setup-dev ## 2,000 renditions on a local cluster with a killed worker, write benchmarks/BATCH.md
	@PYTHONPATH=. $(BIN)/python benchmarks/batch_trial.py

fuzz: setup-dev ## send mutated images to a renderer until Ctrl-C; saves those that end it
	@$(BIN)/python -m tests.hostile.fuzz

sbom: setup-dev ## write docs/sbom.json, the native libraries inside the wheels
	@$(BIN)/python tools/sbom.py

eval-smart: setup-dev ## score smart crops on the annotated photographs
	@$(BIN)/python benchmarks/eval_smart.py

smart-splits: setup-dev ## fit the constants of smart crops on half of the photographs and score them on the other half
	@$(BIN)/python benchmarks/smart_splits.py

check-chart: ## lint the Helm chart and render it for the tests; builds helm from its Go module if it is missing
	@tools/chart

image: ## build the container image with buildah, as root, without a container engine
	@tools/image

site: setup-dev ## build the documentation site in build/site with pictures of the parameters; broken links are errors
	@[ -x .venv-site/bin/mkdocs ] || $(PYTHON) -m venv --clear .venv-site
	@.venv-site/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements/site.txt
	@rm -rf build/pictures && $(BIN)/python tools/example_pictures.py build/pictures
	@NO_MKDOCS_2_WARNING=1 .venv-site/bin/python tools/documentation_site.py

docs: setup-dev ## write the generated documents
	@$(BIN)/python tools/documents.py

format: setup-dev ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: setup-dev ## pin the dependencies of pyproject.toml with hashes
	@tools/lock
