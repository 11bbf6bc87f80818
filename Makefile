# Every target makes what it needs: the first run installs, the next ones start in seconds.
PYTHON ?= python3
# As in styletutor/__init__.py, for programs that load torch before it.
export GOMP_SPINCOUNT ?= 1000
BIN := .venv/bin
LAB := .venv/lab-installed
DEV := .venv/dev-installed
SITE := .venv/site-installed

.PHONY: lab studio test lint notebooks site slides page bench gpu pocket pocket-report clean

lab: $(LAB) ## open JupyterLab on the course; options in ARGS, as ARGS="--no-browser --port 8899"
	$(BIN)/styletutor lab $(ARGS)

studio: $(LAB) ## open the transfer studio as a page without code; ARGS="--theme=dark" and others
	$(BIN)/styletutor studio $(ARGS)

test: $(DEV) ## the tests, in two processes; ARGS="-k gram" picks some, ARGS="-n 0 --pdb" stops at a fault
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(DEV) ## format and lint, notebooks included, without changing anything
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

notebooks: $(DEV) ## re-execute the notebooks in place; ARGS=notebooks/01_inside_vgg.ipynb picks some
	$(BIN)/ruff format notebooks
	$(BIN)/python docs/execute.py $(ARGS)

site: slides $(if $(shell command -v npm),page) ## lessons as stored, reference and slides as pages to open from disk: site/index.html
	$(BIN)/python -m sphinx --quiet --fresh-env --fail-on-warning --keep-going -c docs -d build/site . site

slides: $(SITE) ## each lesson and each plan for a class as slides: site/slides/
	$(BIN)/python docs/slides.py notebooks site/slides docs/plans

page: $(LAB) ## the studio as one file for any browser: site/studio/index.html; needs node and npm
	$(BIN)/python docs/page/build.py site/studio

bench: $(DEV) ## speed and memory beside a plain loop; ARGS="--only evaluation race" picks parts
	$(BIN)/python -m benchmarks $(ARGS)

gpu: $(DEV) ## the truth about this machine's GPU in ten minutes; ARGS="--only sizes" picks parts
	$(BIN)/python -m benchmarks.gpu $(ARGS)

# Large tensors in memory that is kept and in large pages: a sixth faster with Linux's allocator.
pocket: export MALLOC_MMAP_THRESHOLD_ := 8589934592
pocket: export MALLOC_TRIM_THRESHOLD_ := 8589934592
pocket: $(LAB) ## train the pocket network anew; Ctrl-C, and the same command goes on
	$(BIN)/python -m training.train --output styletutor/network/pocket.safetensors $(ARGS)

pocket-report: $(LAB) ## judge it by its teacher; PAIRS=a folder of pictures of your own
	$(BIN)/python -m training.judge $(if $(PAIRS),--pairs "$(PAIRS)") $(ARGS)

clean: ## remove the environment
	rm -rf .venv

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "styletutor needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

$(LAB): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[lab]'
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[lab,dev,site]'
	@touch $@ $(LAB) $(SITE)

$(SITE): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[lab,site]'
	@touch $@ $(LAB)
