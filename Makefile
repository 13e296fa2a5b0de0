# `make figures` makes the environment and runs the default study; `make test` runs the tests in the same environment.
PYTHON ?= python3
VENV ?= .venv
CORES ?= all
CONFIG ?= config/laptop.yaml
STUDY ?= laptop
PACK ?= $(STUDY).tar.gz
STAMP := $(VENV)/.installed
QUANTISED := $(VENV)/quantised
RUN := PATH="$(abspath $(VENV))/bin:$$PATH"

.PHONY: figures smoke real test test-gpu planted drill slurm bench memory report criteria publish replicate pack verify audit unlock lint lock clean env help

help: ## show these targets
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' \
		$(MAKEFILE_LIST)

##@ To see whether the paper's claims hold

figures: $(STAMP) ## the default study: train, realign, compare, draw (results/laptop)
	$(RUN) snakemake --cores $(CORES) figures

smoke: $(STAMP) ## the same workflow in minutes (results/smoke)
	$(RUN) snakemake figures --cores $(CORES) --configfile config/smoke.yaml

real: $(STAMP) ## the chat study on a real chat model, which is fetched once (results/real-mini)
	$(RUN) snakemake figures --cores $(CORES) --configfile config/real-mini.yaml

bench: $(STAMP) ## what decoding the mixture costs, beside one model (results/laptop/bench)
	$(RUN) snakemake bench --cores $(CORES) --configfile $(CONFIG)

memory: CONFIG = config/real-mini.yaml
memory: $(STAMP) $(QUANTISED)/.installed ## what it costs to hold the chat pair in less memory (results/real-mini/memory)
	$(RUN) DERA_QUANTISED="$(abspath $(QUANTISED))" snakemake memory --cores $(CORES) --configfile $(CONFIG)

report: figures ## report.html of the default study
	$(RUN) snakemake --report report.html

replicate: $(STAMP) ## the study with one set of seeds after another, and the verdicts side by side (CONFIG=config/...)
	$(RUN) sh -ec 'numbers=$$(python -m study.replicates $(CONFIG)); for number in $$numbers; do \
		snakemake figures --cores $(CORES) --configfile $(CONFIG) --config replicate=$$number; done'
	$(RUN) sh -ec 'claims=$$(python -m study.replicates $(CONFIG) --claims); set -- $$claims; \
		python -m eval.replicates "$$@" --output "$$(dirname "$$1")/replicates.md"'

##@ To audit a study without its models

pack: $(STAMP) ## one archive of a finished study's tables and records (STUDY=laptop)
	$(RUN) python -m study.pack "results/$(STUDY)" --output "$(STUDY).tar.gz"

verify: $(STAMP) ## derive every verdict again from an archive, and compare (PACK=laptop.tar.gz AGAINST=docs/laptop)
	$(RUN) python -m eval.verify "$(PACK)" $(if $(AGAINST),--against "$(AGAINST)")

audit: $(STAMP) ## what one claim was made from, down to the seed (STUDY=laptop CLAIM=length-smooth-rloo)
	$(RUN) python -m eval.audit "results/$(STUDY)" "$(CLAIM)"

##@ To change the code

test: $(STAMP) $(QUANTISED)/.installed ## all tests, by two workers
	$(RUN) python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
	$(RUN) PYTHONPATH="$(abspath $(QUANTISED))" python -m pytest tests/quantised

test-gpu: $(STAMP) ## exactness of decoding on a GPU (skipped without one)
	$(RUN) python -m pytest tests/dera/test_gpu.py

planted: $(STAMP) ## whether tests notice errors that are planted into a copy of the code (half an hour)
	$(RUN) python -m tests.planted_errors

drill: $(STAMP) ## whether a small study survives 26 faults at random moments (half an hour)
	$(RUN) python -m tests.fault_drill

slurm: $(STAMP) ## whether a small study runs through Slurm on this machine, killed jobs and all (as root; a quarter of an hour)
	$(RUN) pip install --quiet --disable-pip-version-check -r envs/clusters.txt
	$(RUN) python -m tests.slurm_trial

lint: $(STAMP) ## formatting, lint, types
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) snakefmt --check Snakefile study training eval figures bench
	$(RUN) snakemake --lint
	$(RUN) mypy

##@ To publish a study and keep the environment

criteria: $(STAMP) ## the pilot of the default study, and docs/criteria/ from its spread
	$(RUN) snakemake figures write_criteria --cores $(CORES) --config replicate=0

publish: figures ## copy the front page of the default study to docs/laptop
	$(RUN) snakemake curve_trial --cores 1
	$(RUN) snakemake publish --cores 1

env: $(STAMP) ## the pinned environment alone, in .venv

lock: ## remake the pinned environment from envs/requirements.in
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install torch==2.13.0
	$(VENV)-lock/bin/pip install -r envs/requirements.in
	$(VENV)-lock/bin/python envs/lock.py
	$(VENV)-lock/bin/pip install uv==0.13.9
	$(VENV)-lock/bin/python envs/lock.py --hashed && rm -rf $(VENV)-lock

unlock: $(STAMP) ## after Snakemake itself was killed outright
	$(RUN) snakemake --unlock

clean: ## remove the environment; results stay
	rm -rf $(VENV)

$(STAMP): envs/requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed; set PYTHON=..."'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r envs/requirements.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

# Beside the environment and not in it, because PEFT imports it in every job that finds it.
$(QUANTISED)/.installed: envs/quantised.txt $(STAMP)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(QUANTISED) -r envs/quantised.txt
	touch $@
