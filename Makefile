# Everything starts here, from a machine that has Python 3.11+ and make: `make help` lists it.

PYTHON ?= python3
VENV_PYTHON := .venv/bin/python
# More arguments for the tool behind a target: make test ARGS="-k rank"
ARGS ?=

SETUP_RUN := $(PYTHON) -I localhost/setup.py run
SETUP_DEV := $(PYTHON) -I localhost/setup.py dev

.DEFAULT_GOAL := help
.PHONY: help run setup test test-313 check format lock audit smoke backup sbom demo bench bench-learning fuzz soak clean

help: ## Show this list
	@echo "make ..."
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'
	@echo "Settings of make run, from the environment:"
	@echo "  RANKLOOP_PORT   where the loop answers, on 127.0.0.1 (7071)"
	@echo "  RANKLOOP_KEY    the deployment key (made once and kept in the data folder)"
	@echo "  RANKLOOP_DATA   the data folder (.rankloop)"
	@echo "Settings of make:"
	@echo "  PYTHON          the Python to make .venv with (python3)"
	@echo "  FUZZ_DOCUMENTS, FUZZ_SEED, FUZZ_PROCESSES  of make fuzz (1000000, 1, 2)"
	@echo "  ARGS            more arguments for the tool behind a target: make test ARGS=\"-k rank\""

run: ## Serve a loop on this machine, with everything it needs, until Ctrl-C
	@$(SETUP_RUN)
	@$(VENV_PYTHON) -m localhost.up

setup: ## Install what running, testing and checking need
	@$(SETUP_DEV)

test: ## Run the whole test suite against a real Azurite
	@$(SETUP_DEV)
	@# Three processes on two cores, for half of the time is waiting; the long files come first, in the order of the folders.
	@$(VENV_PYTHON) -m pytest --cov -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-313: ## Run the suite on Python 3.13, as Azure does, where this machine has one
	@$(SETUP_DEV)
	@$(VENV_PYTHON) .ci/on_313.py $(ARGS)

check: ## Lint, check format and types, look for secrets, and whether the lock files are current
	@$(SETUP_DEV)
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy . .ci/lock.py .ci/leaks.py .ci/sbom.py .ci/audit.py .ci/on_313.py
	$(VENV_PYTHON) .ci/leaks.py
	$(VENV_PYTHON) .ci/lock.py --check

format: ## Rewrite the code in the project's format
	@$(SETUP_DEV)
	$(VENV_PYTHON) -m ruff check --fix .
	$(VENV_PYTHON) -m ruff format .

lock: ## Write requirements*.txt and package-lock.json from requirements*.in and package.json
	@$(SETUP_DEV)
	@$(VENV_PYTHON) .ci/lock.py

audit: ## Look for advisories against what the locks pin, where their databases can be reached
	@$(SETUP_RUN)
	@$(VENV_PYTHON) .ci/audit.py

backup: ## Copy a deployment's storage while it serves: FROM=... TO=... make backup (docs/recovery.md)
	@$(SETUP_RUN)
	@FROM="$$FROM" TO="$$TO" $(VENV_PYTHON) -m backup

smoke: ## Prove a deployment: make smoke ENDPOINT=https://... KEY=<the deployment key>
	@$(SETUP_RUN)
	@$(VENV_PYTHON) -m demo.smoke "$(ENDPOINT)" "$(KEY)"

sbom: ## Write what a deployment is made of to sbom.json (CycloneDX)
	@$(SETUP_RUN)
	@$(VENV_PYTHON) .ci/sbom.py > sbom.json

demo: ## Watch a loop learn two tutorials, against `make run` in another terminal
	@$(SETUP_RUN)
	@$(VENV_PYTHON) -m demo $(ARGS)

bench: ## Measure, and print ratios
	@$(SETUP_DEV)
	@$(VENV_PYTHON) -m bench $(ARGS)

bench-learning: ## Measure what a loop learns, against published figures; ARGS="--quick", or scenarios by name
	@$(SETUP_DEV)
	@$(VENV_PYTHON) -m bench.learning $(ARGS)

fuzz: ## Send a million hostile documents to all routes: no 5xx, no crash, none dearer than the budget
	@$(SETUP_DEV)
	@FUZZ_DOCUMENTS=$${FUZZ_DOCUMENTS:-1000000} FUZZ_PROCESSES=$${FUZZ_PROCESSES:-2} \
		$(VENV_PYTHON) -m pytest -s tests/fuzz tests/unit/ranking/test_fuzz.py $(ARGS)

soak: ## Kill instances for an hour (SOAK_SECONDS) or 2000 times (SOAK_KILLS), drawn from SOAK_SEED
	@$(SETUP_DEV)
	@SOAK_KILLS=$${SOAK_KILLS:-2000} SOAK_SECONDS=$${SOAK_SECONDS:-3600} \
		$(VENV_PYTHON) -m pytest -q tests/faults/test_crash.py $(ARGS)

clean: ## Remove what set-up and tools made; the data folder stays
	rm -rf .venv .venv-3.13 node_modules tests/*/js/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
