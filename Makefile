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
# How the demo carries services. "ipvs" needs nodes with their own kernels; the others run in network namespaces.
DATAPLANE ?= iptables
DATAPLANES := $(shell sed -n 's/^  \([a-z]*\):$$/\1/p' playbooks/vars/demo/planes.yml)
ifeq ($(filter $(DATAPLANE),$(DATAPLANES)),)
$(error DATAPLANE=$(DATAPLANE) is none of: $(DATAPLANES))
endif
VERSION := $(shell sed -n 's/^version: //p' galaxy.yml)
# Where `make install` puts the collection: what your own Ansible settings say, or ~/.ansible/collections.
COLLECTIONS ?=
# More arguments for ansible-playbook: make demo ARGS="--check --diff".
ARGS ?=
# Where the cluster's released programs are downloaded from: nothing for their own sites, the URL of a mirror, or "none" to
# build everything from source. tools/cluster_releases.py says more.
CLUSTER_RELEASES ?=
# "nodes", "cluster" and "test" add the Debian packages of the nodes, of the cluster, and of all test tiers.
PROFILE ?= full

# What root runs in the user's tree leaves no compiled files that the user could not delete.
AS_ROOT := $(if $(filter-out 0,$(shell id -u)),sudo -H env PYTHONDONTWRITEBYTECODE=1)
# Ansible needs UTF-8 in any case. In a terminal without it, the steps are marked by words.
UTF8 := $(if $(filter UTF-8,$(shell locale charmap 2>/dev/null)),,LC_ALL=C.UTF-8 HOMELAB_STEPS_ASCII=true)
# Shows one line for each step. ARGS=-v shows Ansible's own output.
STEPS := ANSIBLE_STDOUT_CALLBACK=homelab.loadbalancer.steps
PLAY := $(AS_ROOT) env PATH="$(CURDIR)/.venv/bin:$$PATH" $(STEPS) $(UTF8) ansible-playbook
PLAYBOOK := $(PLAY) -i $(INVENTORY)
DEMO_LANGUAGE := $(if $(LAB),-e demo_language=$(LAB))
DEMO := -e demo_make=true -e demo_dataplane=$(DATAPLANE) $(DEMO_LANGUAGE)
RUN_TESTS := .venv/bin/python tools/run_tests.py

.PHONY: help setup demo demo-down lab lb nodes-up nodes-image nodes-down cluster-up cluster-images cluster-down demo-cluster check test \
    unit api integration kernel nodes cluster sanity molecule compat coverage bench docs build install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z -]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## what the playbooks need, for your own machines: Debian packages and .venv; PROFILE=test: also what `make test` needs
	@tools/setup $(PROFILE)

# What the labs in network namespaces need: a small part of it.
.PHONY: setup-demo
setup-demo:
	@tools/setup

ifeq ($(wildcard playbooks/demo_$(DATAPLANE).yml),)
demo: setup-demo ## build the lab, load-balance a VIP in it and show that it works; LAB=ja: the mirrored lab, in Japanese
	@$(PLAYBOOK) playbooks/demo.yml $(DEMO) $(ARGS)

lb: setup-demo ## only configure the load balancer of the demo, which repairs it
	@$(PLAYBOOK) playbooks/$(DATAPLANE)_lb.yml $(ARGS)

demo-down: setup-demo ## remove the lab
	@$(PLAYBOOK) playbooks/lab_down.yml $(ARGS)
else
demo: nodes-image ## with DATAPLANE=ipvs: the same by IPVS, on nodes with their own kernels
	@$(PLAY) -i inventories/nodes playbooks/demo_$(DATAPLANE).yml $(DEMO) $(ARGS)

lb: nodes-image
	@$(PLAY) -i inventories/nodes playbooks/$(DATAPLANE)_lb.yml $(ARGS)

demo-down: nodes-down
endif

lab: setup-demo ## only build the lab
	@$(PLAYBOOK) playbooks/lab.yml $(ARGS)

nodes-up: nodes-image ## boot four nodes with their own kernels, reached by SSH
	@$(PLAY) -i inventories/nodes playbooks/nodes.yml $(ARGS)

# Made ahead of the playbook, which shows no progress. The playbook asks for it again.
nodes-image:
	@tools/setup nodes
	@$(AS_ROOT) tools/node-image >/dev/null

nodes-down: ## remove the nodes with their disks
	@tools/setup nodes
	@$(PLAY) -i inventories/nodes playbooks/nodes_down.yml $(ARGS)

cluster-up: cluster-images ## start a Kubernetes cluster on this machine; the first time takes minutes, as it downloads and builds it
	@$(PLAY) -i inventories/cluster playbooks/cluster_lab.yml $(ARGS)

# Made ahead of the playbook, as the nodes' disk is.
cluster-images:
	@tools/setup cluster
	@$(AS_ROOT) env PATH="$$PATH" CLUSTER_RELEASES='$(CLUSTER_RELEASES)' tools/cluster-binaries >/dev/null
	@$(AS_ROOT) tools/container-image >/dev/null

demo-cluster: cluster-images ## start it, and serve two applications in it by their host names
	@$(PLAY) -i inventories/cluster playbooks/demo_cluster.yml $(DEMO_LANGUAGE) $(ARGS)

cluster-down: ## remove the cluster with all its data
	@tools/setup cluster
	@$(PLAY) -i inventories/cluster playbooks/cluster_lab_down.yml $(ARGS)

check: ## lint, types and unit tests
	@tools/setup test
	@$(RUN_TESTS) check

test: ## every test, in about half an hour
	@tools/setup test
	@$(RUN_TESTS) test

unit api integration kernel nodes cluster sanity molecule: ## one part of `make test` alone
	@tools/setup test
	@$(RUN_TESTS) $@

compat: ## other releases of Debian, ansible-core and Python; writes the table of docs/systems.md; in an hour
	@tools/setup test
	@$(AS_ROOT) .venv/bin/python tools/compat.py $(ARGS)

coverage: ## which lines of the plugins the unit and integration tests run, in about half an hour
	@tools/setup test
	@$(AS_ROOT) tools/coverage

bench: cluster-images ## measure loading times; prints ratios of one run
	@tools/setup test
	@$(AS_ROOT) .venv/bin/python tools/bench.py
	@$(AS_ROOT) .venv/bin/python tools/bench_nftables.py
	@$(AS_ROOT) .venv/bin/python tools/bench_ipset.py
	@$(AS_ROOT) tools/kernel .venv/bin/python tools/bench_ipvs.py
	@$(AS_ROOT) .venv/bin/python tools/bench_inspect.py
	@$(AS_ROOT) .venv/bin/python tools/bench_site.py

docs: ## the guides and the reference as a site, into build/site
	@tools/setup docs
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict --config-file tools/site/mkdocs.yml
	@echo 'open $(CURDIR)/build/site/index.html'

build: setup ## the collection as a tarball, of what git tracks
	@tools/build

# From the home folder, for the settings of this project take the clone itself for the installed collection.
install: build ## build it and install it for your own projects; COLLECTIONS=FOLDER: into that folder
	@cd && '$(CURDIR)/.venv/bin/ansible-galaxy' collection install --force $(if $(COLLECTIONS),-p '$(abspath $(COLLECTIONS))') \
	    '$(CURDIR)/homelab-loadbalancer-$(VERSION).tar.gz'

clean: ## remove what the tools left behind, .venv as well
	@rm -rf .venv .ansible .hypothesis .mypy_cache .pytest_cache .ruff_cache build *.tar.gz
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
