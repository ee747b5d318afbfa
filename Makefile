# `make` alone lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Which lab: nothing for the English workshop's, "ja" for the Japanese one's, which is its mirror image.
LAB ?=
INVENTORY := inventories/lab$(if $(LAB),_$(LAB))
ifeq ($(wildcard $(INVENTORY)/hosts.yml),)
$(error LAB=$(LAB) is not a lab: leave it out, or write LAB=ja)
endif
# More arguments for ansible-playbook: make demo ARGS="--check --diff".
ARGS ?=
# "test" adds the Debian packages of the test tiers.
PROFILE ?=

# What root runs in the user's tree leaves no compiled files that the user could not delete.
AS_ROOT := $(if $(filter-out 0,$(shell id -u)),sudo -H env PYTHONDONTWRITEBYTECODE=1)
PLAYBOOK := $(AS_ROOT) env PATH="$(CURDIR)/.venv/bin:$$PATH" ansible-playbook -i $(INVENTORY)
RUN_TESTS := .venv/bin/python tools/run_tests.py

.PHONY: help setup demo demo-down lab check test unit integration kernel sanity molecule bench reference build clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z -]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Debian packages of bindep.txt and .venv; PROFILE=test: also what `make test` needs
	@tools/setup $(PROFILE)

demo: setup ## build the lab, load-balance a VIP in it and show that it works; LAB=ja: the mirrored lab
	@$(PLAYBOOK) playbooks/demo.yml $(ARGS)

demo-down: setup ## remove the lab
	@$(PLAYBOOK) playbooks/lab_down.yml $(ARGS)

lab: setup ## only build the lab
	@$(PLAYBOOK) playbooks/lab.yml $(ARGS)

check: setup ## lint, types and unit tests
	@$(RUN_TESTS) check

test: ## every test there is
	@tools/setup test
	@$(RUN_TESTS) test

unit integration kernel sanity molecule: ## one part of `make test` alone
	@tools/setup test
	@$(RUN_TESTS) $@

bench: setup ## measure loading times; prints ratios of one run
	@$(AS_ROOT) .venv/bin/python tools/bench.py

reference: setup ## the reference of the modules and roles, into docs/reference
	@tools/reference docs/reference

build: setup ## the collection as a tarball
	@.venv/bin/ansible-galaxy collection build --force

clean: ## remove what the tools left behind, .venv as well
	@rm -rf .venv .ansible .hypothesis .mypy_cache .pytest_cache .ruff_cache docs/reference *.tar.gz
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
