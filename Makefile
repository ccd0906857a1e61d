# make demo       train, test and show STReMN on synthetic videos (15 minutes at most on 2 cores)
# make test       the test suite;  make test-all  the slow checks too: whole campaigns (tests/campaign), kills, long streams, and
#                 the built wheel under mim (a second environment with openmim that sees the torch of the first)
# make mutate     mutation testing of memory/ and evaluation/: SAMPLE=200 mutants drawn by SEED=0; SAMPLE=0 tries all (hours)
# make lint       ruff, the layers of imports;  make docs  the documentation site,
#                 build/site/docs/index.html
# All of them make .venv and install into it first; it is reused until setup.py or the pinned versions change.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# As many processes as there are cores; one that has nothing left takes tests from another.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

SAMPLE ?= 200
SEED ?= 0

.PHONY: demo test test-all mutate lint docs env clean

demo: $(STAMP)
	$(BIN)/python demo/run_demo.py --out work_dirs/demo

test: $(STAMP)
	$(PYTEST)

test-all: $(STAMP)
	MMSTREMN_CAMPAIGN=full $(PYTEST) -m 'slow or not slow'

mutate: $(STAMP)
	$(BIN)/python tests/mutate.py --sample $(SAMPLE) --seed $(SEED)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python -m sphinx -W --keep-going -q -b html -c docs . build/site

env: $(STAMP)

$(STAMP): setup.py pyproject.toml requirements/tested.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c requirements/tested.txt -e '.[tests]'
	touch $@

clean:
	rm -rf $(VENV) build mutants *.egg-info
