# The two commands that a newcomer needs are `make demo` and `make test`; `make help` lists the rest.

SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# Ansible does not start in a locale whose encoding is another, such as LC_ALL=C.
ifneq ($(shell locale charmap 2>/dev/null),UTF-8)
export LC_ALL := C.UTF-8
endif
# Root, or sudo without a password, needs no question; otherwise Ansible asks once for each playbook.
BECOME := $(shell [ "$$(id -u)" = 0 ] || sudo -n true 2>/dev/null || echo --ask-become-pass)
PLAY := $(BIN)/ansible-playbook $(BECOME)
# Sample images of the demo, outside the work tree so that every clone finds them.
DEMO_IMAGES := $(HOME)/.cache/condor-yolo/demo-images
DEMO_COUNT ?= 48
# What `make test` runs, in this order: each role's tests are in one of these, on hosts that they share.
SUITE := cluster inference_run bare local_hosts
# What `make test-ec2` runs.
SUITE_EC2 := ec2_cluster ec2
# A scenario for each role, on hosts of its own, beside those.
SCENARIOS := $(patsubst molecule/%/molecule.yml,%,$(wildcard molecule/*/molecule.yml))

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/control: requirements.txt constraints.txt files/demo/requirements.txt
	@# One that is there is kept: made anew by another Python it would be half of each.
	[ -x $(BIN)/pip ] || python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile -r requirements.txt
	@# Only their photos and what samples.py imports are wanted, not torch.
	$(BIN)/pip install --quiet --no-compile --no-deps -r files/demo/requirements.txt
	touch $@

$(VENV)/test: $(VENV)/control requirements-test.txt
	@# Of the photos' package, which came without what it requires, pip would warn.
	$(BIN)/pip install --quiet --no-compile --no-warn-conflicts -r requirements-test.txt
	touch $@

.PHONY: venv
venv: $(VENV)/control ## The control node's virtual environment

.PHONY: up
up: $(VENV)/control ## Local hosts, booted
	$(PLAY) playbooks/local_up.yml

.PHONY: down
down: $(if $(wildcard $(BIN)/ansible-playbook),,$(VENV)/control) ## Local hosts, networks and firewall rules, all gone
	$(PLAY) playbooks/local_down.yml

.PHONY: demo-images
demo-images: $(VENV)/control
	$(BIN)/python files/demo/samples.py --out $(DEMO_IMAGES) --count $(DEMO_COUNT) --split sample

.PHONY: demo
demo: up demo-images ## From nothing to results: local hosts, pool, detection on sample images
	$(PLAY) site.yml
	$(PLAY) run_inference.yml -e images=$(DEMO_IMAGES)/images -e weights=demo -e run_id=demo
	@printf '%s\n' "" \
	  "Results:               results/demo/ (report.html, images/, labels/, predictions.json, metrics.json, results.zip)" \
	  "Your own images:       $(BIN)/ansible-playbook run_inference.yml -e images=PATH -e weights=yolov5s" \
	  "Take the cluster down: make down"

# The benchmark's own environment; BENCH_PIP says where torch comes from, see bench/README.md.
BENCH_VENV := bench/.venv
BENCH_PIP ?=
BENCH_ARGS ?=
# By default the demo's sample images; a folder of yours with IMAGES=PATH. WEIGHTS, YOLOV5_DIR, YOLOV5_WEIGHTS: likewise.
IMAGES ?= $(DEMO_IMAGES)/images

$(BENCH_VENV)/ready: bench/requirements.txt bench/constraints.txt
	[ -x $(BENCH_VENV)/bin/pip ] || python3 -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install --quiet --no-compile -r bench/requirements.txt $(BENCH_PIP)
	touch $@

.PHONY: bench
bench: $(BENCH_VENV)/ready $(VENV)/control $(if $(filter $(DEMO_IMAGES)/%,$(IMAGES)),demo-images) ## At most 20 min on the cluster of `make demo`: against yolo predict and Ray Data, scaling
	$(BENCH_VENV)/bin/python -m bench --images "$(IMAGES)" $(if $(WEIGHTS),--weights "$(WEIGHTS)") \
	  $(if $(YOLOV5_DIR),--yolov5-dir "$(YOLOV5_DIR)" --yolov5-weights "$(YOLOV5_WEIGHTS)") $(BENCH_ARGS)

# One slot against all. Its own sample images are made once for each COUNT; or IMAGES=PATH. WEIGHTS: any weights.
COUNT ?= 1000
COMPARE_IMAGES := $(HOME)/.cache/condor-yolo/compare-images-$(COUNT)
COMPARE_RUN := compare-$(shell date -u +%Y%m%d-%H%M%S)

$(COMPARE_IMAGES)/made: $(VENV)/control
	$(BIN)/python files/demo/samples.py --out $(COMPARE_IMAGES) --count $(COUNT) --split sample
	touch $@

.PHONY: cluster-is-up
cluster-is-up: $(VENV)/control
	@$(BIN)/ansible execute --list-hosts 2> /dev/null | grep -q '^  hosts ([1-9]' || { printf '%s\n' >&2 \
	  "There is no cluster: the inventory has no execute hosts. Make one with \`make demo\`, or name yours with ANSIBLE_INVENTORY=PATH."; exit 1; }

.PHONY: compare
compare: cluster-is-up ## One slot against all on the cluster that is up: 1000 images, a table and report.html
	@$(if $(filter file,$(origin IMAGES)),$(MAKE) --no-print-directory COUNT=$(COUNT) $(COMPARE_IMAGES)/made)
	$(PLAY) run_inference.yml -e mode=compare -e run_id=$(COMPARE_RUN) -e weights="$(or $(WEIGHTS),demo)" \
	  -e images="$(if $(filter file,$(origin IMAGES)),$(COMPARE_IMAGES)/images,$(IMAGES))"
	@$(BIN)/python files/demo/comparison.py results/$(COMPARE_RUN)

.PHONY: lint-ansible
lint-ansible: $(VENV)/test
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --offline

.PHONY: lint-rest
lint-rest: $(VENV)/test
	$(BIN)/yamllint --strict .
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=files $(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/vulture

.PHONY: lint
lint: lint-rest lint-ansible ## Style of playbooks, YAML and Python

.PHONY: docs
docs: $(VENV)/control ## Tables of the roles' inputs in their READMEs
	$(BIN)/python docs/role_tables.py

.PHONY: unit
unit: $(VENV)/test ## Unit tests
	$(BIN)/python -m pytest

# Two at a time: ansible-lint takes as long as the unit tests.
.PHONY: check
check: $(VENV)/test ## In three minutes, without hosts: style and unit tests
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint-ansible lint-rest unit

# Three at a time, as a scenario mostly waits. The checks run while the first one builds the base image, which the next one
# waits for. What failed is said once more at the end, since the others run on meanwhile.
FAILED := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/condor-yolo/tests/failed
define run-beside
@rm -rf "$(FAILED)"
@$(MAKE) --no-print-directory --jobs=3 --output-sync=line $(1) || \
  { printf '\n%s\n' "make $@: FAILED"; cat "$(FAILED)"/* 2> /dev/null; exit 1; }
endef
.PHONY: test
test: $(VENV)/test ## At most 20 min: the checks, every role and the whole cluster on local hosts
	$(call run-beside,check-beside $(SUITE:%=molecule-%))

.PHONY: test-ec2
test-ec2: $(VENV)/test ## What CI runs after that: the way over EC2, on local hosts behind an emulated API
	$(call run-beside,$(SUITE_EC2:%=molecule-%))

# What `check` does, one after the other.
.PHONY: check-beside
check-beside: $(VENV)/test
	@$(MAKE) --no-print-directory lint-rest lint-ansible unit || \
	  { mkdir -p "$(FAILED)"; printf '%s\n' "check: FAILED, see above." "To repeat just that:" "  make check" | tee "$(FAILED)/check"; exit 1; }

.PHONY: molecule
molecule: $(VENV)/test ## Every scenario by itself, each role's too: three quarters of an hour
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=line $(patsubst %,molecule-%,$(SUITE) $(filter-out $(SUITE),$(SCENARIOS)))

# As `molecule test -s NAME`, whose output goes to a log; ends with what failed and the command that repeats just that.
.PHONY: $(SCENARIOS:%=molecule-%)
$(SCENARIOS:%=molecule-%): molecule-%: $(VENV)/test
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python .ci/scenario.py $*

.PHONY: clean-hosts
clean-hosts: ## Hosts that interrupted tests left
	@for scenario in $(SCENARIOS); do \
	  compgen -G "/var/lib/yolo-local-hosts/test-$${scenario//_/-}" > /dev/null \
	  || compgen -G "$(HOME)/.ansible/tmp/molecule.*.$$scenario/daemons" > /dev/null || continue; \
	  PATH="$(CURDIR)/$(BIN):$$PATH" molecule destroy -s $$scenario; \
	done
