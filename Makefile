# make setup | demo | test | doctest | slow | gpu | gpu-dry | gpu-report | audit | benchmarks | clean
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= seg,test
# The pair that was tested is of the CPU; the extra gpu asks for a newer torch.
PINS := $(if $(findstring gpu,$(EXTRAS)),,-c constraints-cpu.txt)

# Compiled modules are kept: tests start hundreds of processes that import them.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo test check doctest long slow gpu gpu-dry gpu-report audit benchmarks clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints-cpu.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'tim3d needs Python 3.11 or newer; type make PYTHON=python3.12 setup')"
	@echo "Installing tim3d and what it needs into $(VENV): a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PINS) -e '.[$(EXTRAS)]'
	touch $@

demo: setup
	$(BIN)/tim3d run pipelines/demo.toml
	@echo "Now open demo/report.html"

# Tests are shared out over this many processes: each begins with its part of the files, and who is
# done takes half of what another has left.
JOBS ?= 2

test: setup
	$(MAKE) --output-sync=target --jobs=$(JOBS) check doctest
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Apart from the tests: to collect them imports the whole package, but for what needs an extra that is not there.
doctest: setup
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --doctest-modules --doctest-continue-on-failure --doctest-ignore-import-errors tim3d

# Kills, buckets, several workers, trainings, reports, benchmarks, every parameter of every verb: too long
# to wait for while one works.
long: setup
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "long and not slow and not gpu"

# The slow tests, what each parameter changes beside what is recorded, then the laws of the default ones with 1000 examples each.
slow: setup
	$(BIN)/python -m pytest -m "slow and not gpu"
	TIM3D_RECORDED=1 $(BIN)/python -m pytest -m "not slow and not gpu" -k changed_alone tests/integration
	TIM3D_EXAMPLES=thorough $(BIN)/python -m pytest -m "hypothesis and not long and not slow and not gpu" --timeout 0

gpu: setup
	$(BIN)/python -m pytest -m gpu

# The GPU code on tensors without values; needs the CUDA build of torch, and no GPU: make -B EXTRAS=gpu,test setup
gpu-dry: setup
	$(BIN)/python -m pytest -m slow tests/dry

# Under eight minutes on one GPU; DRY=1 rehearses it, small, on a CPU.
gpu-report: setup
	$(BIN)/python deploy/gpu/report.py $(if $(DRY),--dry)

# In a folder of its own, so that the packages of the auditor are not audited for tim3d's.
audit: setup
	test -x $(VENV)-audit/bin/pip-audit || { $(PYTHON) -m venv $(VENV)-audit && $(VENV)-audit/bin/python -m pip install --quiet --retries 1 'pip-audit>=2.7'; } || true
	$(BIN)/python .ci/audit.py --pip-audit $(VENV)-audit/bin/pip-audit

benchmarks: setup
	$(BIN)/python -m benchmarks

clean:
	rm -rf demo build dist
