# The Loss Book. `make book` and `make test` need nothing but Python 3.11 or newer; the rest is listed by `make help`.

PYTHON3 ?= python3
# Processes of tests: as many as there are cores and memory for. Another number: make JOBS=4 test
JOBS ?= $(shell $(PYTHON3) _ext/workers.py)
# Where Linux finds torch without several GB of CUDA. `make TORCH_INDEX= book` takes PyPI's instead.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

PYTHON := .venv/bin/python
PIP := $(PYTHON) -m pip --disable-pip-version-check
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help book test test-all test-package browsers bench studies mutants serve student pdf strict links lint format chapter lock clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 22

book: $(INSTALLED)  ## execute and build the book into _build/html/, and say where to open it
	@$(PYTHON) _ext/build.py

test: book  ## what one needs to trust a checkout: the package, the claims, the built pages, each of them once in a browser
	@$(PYTHON) -m tests.chromium || test "$$CI" != true
	@$(PYTHON) -m pytest -q -n $(JOBS) --dist worksteal -m "not thorough and not browsers"

test-all: $(if $(TESTED),,test)  ## and the rest: other seeds, compiled and exported, books and environments on the side, every page in both themes and widths
	@$(PYTHON) -m pytest -q -n $(JOBS) --dist worksteal -m thorough

test-package: $(INSTALLED)  ## only what needs neither the built book nor a browser
	@$(PYTHON) -m pytest -q -n $(JOBS) --dist worksteal -m "not browser and not browsers and not site and not thorough"

browsers: book  ## the figures and quizzes of the built book in Firefox and WebKit, which it installs where it may
	@$(PYTHON) -m tests.browsers
	@$(PYTHON) -m pytest -q -m browsers tests/browser

bench: $(INSTALLED)  ## speed and cost against what people use; ONLY="sets focal" runs these alone, SPEND=10 repeats them for longer
	@$(PYTHON) -m benchmarks $(ONLY) $(if $(SPEND),--seconds $(SPEND))

studies: $(INSTALLED)  ## the book's own experiments, what of them has not been run; ONLY="ramp", SEEDS=3 for a look at the first seeds, BACKEND=dask
	@$(PYTHON) -m studies $(ONLY) --workers $(JOBS) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(BACKEND),--backend $(BACKEND))

mutants: $(INSTALLED)  ## break ONLY="boxes sets", one place at a time, and count what their tests notice; SAMPLE=60 of each, drawn by SEED=0
	@$(PYTHON) -m mutants $(or $(ONLY),no-module-named) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) $(if $(FLOOR),--floor $(FLOOR))

serve: book  ## build the book and serve it on this machine; what changes is built again
	@$(PYTHON) _ext/serve.py

student: $(INSTALLED)  ## the chapters as notebooks without their solutions, and the answers by themselves, into _build/student/
	@$(PYTHON) _ext/student.py

pdf: book  ## the whole book as one PDF with outline, page numbers and links, into _build/paper/
	@$(PYTHON) -m tests.chromium
	@$(PYTHON) _ext/paper.py

strict: book  ## a copy of the built book, _build/strict/, with a strict Content-Security-Policy on every page
	@$(PYTHON) _ext/strict.py _build/html _build/strict

links: $(INSTALLED)  ## ask every link to another site whether it still answers
	@$(PYTHON) _ext/build.py --links

lint: $(INSTALLED)  ## style, spelling and types
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check --quiet . || { echo "Run: make format"; exit 1; }
	@$(PYTHON) -m codespell_lib
	@$(PYTHON) -m mypy

format: $(INSTALLED)  ## write the code as the linter wants it
	@$(PYTHON) -m ruff check --fix --quiet . ; $(PYTHON) -m ruff format --quiet .

chapter: | $(PYTHON)  ## CHAPTER=chapters/principles/the-cliff.md: build that one alone, quickly
	@$(PYTHON) _ext/build.py $(or $(CHAPTER),no-chapter-named)

lock: $(INSTALLED)  ## write requirements.txt anew from what is installed in .venv
	@{ sed -n '/^#/p' requirements.txt; $(PIP) freeze --all --exclude-editable --exclude pip | sed 's/+cpu$$//'; } > requirements.new && mv requirements.new requirements.txt

clean:  ## remove everything that was built; .venv stays
	@rm -rf _build build dist lossbook.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

$(PYTHON):
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "The Loss Book needs Python 3.11 or newer; name one: make PYTHON3=/path/to/python3.12 book"; exit 1; }
	@echo "Making the environment .venv ..."
	@$(PYTHON3) -m venv .venv

# torch first and alone, from the index that has its CPU build; where that index cannot be reached, pip's own settings decide
$(INSTALLED): requirements.txt pyproject.toml | $(PYTHON)
	@echo "Installing the versions in requirements.txt (a few minutes the first time) ..."
	@$(if $(TORCH_INDEX),$(PIP) install --quiet --no-deps --retries 0 --extra-index-url $(TORCH_INDEX) $$(grep '^torch==' requirements.txt) 2>.venv/install.log || { cat .venv/install.log; exit 1; },:)
	@$(PIP) install --quiet -r requirements.txt 2>>.venv/install.log || { cat .venv/install.log; exit 1; }
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable . >>.venv/install.log 2>&1 || { cat .venv/install.log; exit 1; }
	@touch $@
