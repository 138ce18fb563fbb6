# Two commands do everything: `make demo` and `make test`. Each makes .venv when it is missing or stale.
PYTHON ?= python3
VENV ?= .venv
TORCH ?=
RUN := $(VENV)/bin/
STAMP := $(VENV)/.installed

.PHONY: demo test lint check clean
.DEFAULT_GOAL := demo

demo: runs/demo/samples.png
	@$(RUN)limner show runs/demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(RUN)python -m pytest -n auto

lint: $(STAMP)
	$(RUN)ruff check src tests benchmarks examples
	$(RUN)ruff format --check src tests benchmarks examples
	$(RUN)mypy

check: lint test

# A run that was interrupted is gone on with; a finished one is kept.
runs/demo/model.safetensors: | $(STAMP)
	@if [ -f runs/demo/settings.json ]; then $(RUN)limner train --resume runs/demo; \
	else $(RUN)limner train --config examples/demo.toml --out runs/demo; fi

runs/demo/samples.png: runs/demo/model.safetensors
	@$(RUN)limner sample $< --count 64 --out $@ --force

# With TORCH=torch the pinned CPU build is left and pip takes the newest one, e.g. for a GPU.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	grep -v '^$(if $(TORCH),torch,none)==' constraints.txt > $(VENV)/constraints.txt
	$(RUN)python -m pip install --quiet --upgrade 'pip>=25.1'
	$(RUN)python -m pip install --quiet -c $(VENV)/constraints.txt $(TORCH) -e . --group dev
	@touch $@

clean:
	rm -rf $(VENV)
