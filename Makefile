# make demo: the main job, on digits that are installed with scikit-learn. make test: all checks.
PYTHON ?= python3
VENV := .venv
IN_VENV := $(VENV)/bin/python
RUNS ?= runs/demo

.PHONY: demo test test-slow test-workers chaos benchmark docs results format clean

$(VENV)/installed: requirements.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"keras_mt needs Python 3.11 to 3.13; $(PYTHON) is {v[0]}.{v[1]}: set PYTHON=...")'
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(IN_VENV) -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	touch $@

demo: $(VENV)/installed
	$(IN_VENV) tools/demo.py --runs=$(RUNS)

test: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(IN_VENV) -m pytest -n 3 -m "not slow"

test-slow: $(VENV)/installed
	$(IN_VENV) -m pytest -m slow

test-workers: $(VENV)/installed
	$(IN_VENV) -m pytest tests/experiments/running/test_workers.py -s

chaos: $(VENV)/installed
	$(IN_VENV) tools/chaos

benchmark: $(VENV)/installed
	$(IN_VENV) tools/benchmark.py

docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(IN_VENV) -m mkdocs build --strict --quiet --site-dir site

results: $(VENV)/installed
	$(IN_VENV) -m keras_mt.report --runs=results/test --introduction=results/test/README.md --name=results --output=docs
	$(IN_VENV) -m keras_mt.report --runs=results/short --introduction=results/short/README.md --name=results_short --output=docs
	$(IN_VENV) -m keras_mt.report --runs=results/tuning --introduction=results/tuning/README.md --name=results_tuning --output=docs
	$(IN_VENV) -m keras_mt.report --runs=results/ablations --introduction=results/ablations/README.md --name=results_ablations --output=docs

format: $(VENV)/installed
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) runs site
