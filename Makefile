# Every target makes its own .venv on first use. `make PYTHON=python3.12 test` takes another interpreter.
PYTHON ?= python3
BIN := .venv/bin
# Tests start many processes: they read bytecode that the first has written, also where it is usually not kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all coverage test-hydra test-ray test-torchao fuzz mutants lint docs check format generate clean FORCE

demo: .venv/installed  ## encode the digits with the embedded encoder; results in demo-output/
	@$(BIN)/vision-composer demo -o demo-output

# One more than the cores of a small machine: tests of several processes wait for one another.
WORKERS := -n 3 --dist worksteal

test: .venv/installed  ## the test suite without its slow tests
	@$(BIN)/python -m pytest $(WORKERS) -m 'not slow'

test-all: .venv/installed test-hydra test-ray test-torchao  ## every test, what reads configs beside Hydra, and more hostile files
	@$(BIN)/python -m pytest $(WORKERS)
	@VISION_COMPOSER_FUZZ=500 $(BIN)/python -m pytest -n 2 tests/fuzz

test-hydra: .venv-hydra/installed  ## what reads configs, beside Hydra 1.3 and the OmegaConf 2.3 that it needs
	@.venv-hydra/bin/python -m pytest -n 2 tests/test_hydra.py tests/schemas

test-ray: .venv-ray/installed  ## jobs on a Ray cluster of this machine, and videos, which need packages of their own
	@.venv-ray/bin/python -m pytest tests/composer/jobs/test_ray_engine.py tests/composer/jobs/inputs/test_videos.py \
	  tests/composer/report/test_frames.py

test-torchao: .venv-torchao/installed  ## quantised encoders: transformers imports torchao wherever it is, so .venv is without
	@.venv-torchao/bin/python -m pytest -n 2 tests/composer/running/test_quantization.py \
	  tests/composer/weights/test_quantised.py tests/composer/bench/test_comparison.py \
	  tests/composer/parallel/test_ranks.py -k 'quant'

coverage: .venv/installed  ## `make test` once more, counting lines and branches; fails below the floor in pyproject.toml
	@$(BIN)/python -m pytest $(WORKERS) -m 'not slow' --cov --cov-report=term

EXAMPLES ?= 10000

fuzz: .venv/installed  ## the tests of hostile files for as long as you like: make fuzz EXAMPLES=100000
	@VISION_COMPOSER_FUZZ=$(EXAMPLES) $(BIN)/python -m pytest -n 2 tests/fuzz

mutants: .venv/installed  ## whether the tests notice the wrong lines of tests/mutants/mutants.tsv
	@$(BIN)/python scripts/mutants.py

lint: .venv/installed  ## format, style, types, import order
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy -p vision_composer
	@$(BIN)/lint-imports

docs: .venv/installed  ## the site, into docs/_build; a warning or a broken link is an error
	@rm -rf docs/_build
	@$(BIN)/python -m sphinx -q -W --keep-going -d docs/_build/.doctrees docs docs/_build
	@$(BIN)/python scripts/check_site.py docs/_build

check: lint docs test-all  ## what CI runs

format: .venv/installed  ## rewrite the files as lint wants them
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

generate: .venv/installed  ## write the JSON Schema and the README's table anew
	@$(BIN)/python scripts/generate.py

clean:  ## remove all that the targets above made
	rm -rf .venv .venv-hydra .venv-ray .venv-torchao build dist demo-output docs/_build docs/reference *.egg-info .coverage .coverage.* \
	  .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: pyproject.toml constraints.txt .venv/files
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]' --config-settings editable_mode=strict
	@touch $@

# An editable install in strict mode links file by file: a file that came or went needs the install again.
.venv/files: .venv/pyvenv.cfg FORCE
	@find composer schemas presets -type f ! -path '*/__pycache__/*' | LC_ALL=C sort > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# All else comes from .venv: its site-packages stand behind those of these environments.
.venv-hydra/installed: PACKAGES := 'hydra-core==1.3.*' 'omegaconf==2.3.*'
.venv-ray/installed: PACKAGES := 'ray>=2.60' 'av>=14'
.venv-torchao/installed: PACKAGES := --no-deps 'torchao>=0.18'
.venv-hydra/installed .venv-ray/installed .venv-torchao/installed: .venv/installed
	@$(BIN)/python -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet $(PACKAGES)
	@site() { $$1/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; } && \
	  echo "import site; site.addsitedir('$$(site .venv)')" > "$$(site $(@D))/shared.pth"
	@touch $@

.venv/pyvenv.cfg:
	$(PYTHON) -m venv .venv
