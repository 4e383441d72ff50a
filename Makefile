# The commands of the project; each makes the environment first where it is missing or out of date.

PYTHON ?= python3
BIN := .venv/bin
FAST := not slow and not gpu

# Threads of several processes that spin for the same cores cost more than they bring.
export OMP_NUM_THREADS := 1

.PHONY: demo test install lint unit test-slow test-gpu benchmark clean

demo: install  ## Search the handwritten digits, export the best network, measure it on held-out images.
	rm -rf demo
	mkdir demo
	$(BIN)/nas search examples/digits.toml
	$(BIN)/nas export digits:best --db demo/nas.db --to python,json --out demo/model

test: install lint unit  ## Lint, types, import contracts and the test suite.

install: .venv/installed  ## The environment alone: .venv with the command nas in it.

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

unit: install
	$(BIN)/pytest -n 2 --dist loadgroup -m "$(FAST)"

test-slow: install  ## The long trials and fault storms.
	$(BIN)/pytest -m "slow and not gpu"

test-gpu: install  ## What needs a CUDA device.
	$(BIN)/pytest -m gpu

benchmark: install  ## Every figure that the documents quote.
	$(BIN)/python benchmarks/analysis_speed.py
	$(BIN)/python benchmarks/torch_model_speed.py
	$(BIN)/python benchmarks/nasbench101_count.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/checkpoint_overhead.py
	$(BIN)/python benchmarks/training_overhead.py
	$(BIN)/python benchmarks/search_throughput.py
	$(BIN)/python benchmarks/many_workers.py

clean:
	rm -rf .venv demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
