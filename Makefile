# The one entry to everything: `make help`.
#
# Servers, private PostgreSQL and Kafka are sandbox/stack.py's business; how the extension is compiled is
# extension/Makefile's, the programs proxy/Makefile's. This file only says what belongs together.

SHELL = /bin/bash
.DEFAULT_GOAL = help
# The order of prerequisites matters: first the packages, then the build.
.NOTPARALLEL:

# PG_CONFIG chooses the PostgreSQL that everything is built for and tested with.
PG_CONFIG ?= /usr/lib/postgresql/15/bin/pg_config
export PG_CONFIG
ifeq ($(origin CC),default)
CC = gcc
endif
CLANG = clang-14

# Debian's own python3: the packages that `make deps` installs are its, whatever else is first in PATH.
PYTHON = /usr/bin/python3
export PYTHONDONTWRITEBYTECODE = 1
STACK = $(PYTHON) sandbox/stack.py

PYTEST_ARGS ?=
BENCH_ARGS ?=
SECONDS ?= 60

# Expanded when used, not when read: on a bare machine there is no pg_config before `make deps`.
pg_major = $(shell $(PG_CONFIG) --version | sed -E 's/[^0-9]*([0-9]+).*/\1/')
pgxs_tests = $(abspath $(dir $(shell $(PG_CONFIG) --pgxs))../test)
build_directory = build/$(1)-pg$(pg_major)
# $(call compile,compiler,targets and variables); V=1 shows the commands.
compile = mkdir -p $(call build_directory,$(1)) && $(MAKE) $(if $(V),,-s) --no-print-directory -j$$(nproc) \
	-C $(call build_directory,$(1)) -f $(CURDIR)/extension/Makefile CC=$(1) $(2)
# $(call compile_programs,variant): gcc, clang or asan.
compile_programs = $(MAKE) $(if $(V),,-s) --no-print-directory -j$$(nproc) -f proxy/Makefile VARIANT=$(1)

sql_tests = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
isolation_tests = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
# Empty --bindir= means psql from PATH, where with-postgres puts the private one.
regress_options = --bindir= --outputdir=$(CURDIR)/build/$@ --dbname=$@_regression
show_differences = { cat build/$@/regression.diffs 2>/dev/null; exit 1; }

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##: setting up and building

.PHONY: deps build build-clang programs private install
deps: ## Install what is missing: Debian packages and the Kafka broker's jars
	@sandbox/deps.sh

build: programs ## Compile everything (PG_CONFIG=, CC= for the extension; V=1 shows the commands)
	@$(call compile,$(CC),all)

build-clang: ## Compile everything with the second compiler
	@$(call compile,$(CLANG),all)
	@$(MAKE) -s -C test/bench relay CC=$(CLANG)
	@$(call compile_programs,clang)

programs: ## Compile order-proxy, its clients and the Account stand-in into build/programs-gcc
	@$(call compile_programs,gcc)

private: ## Compile and install the extension into the sandbox's own PostgreSQL
	@prefix=$$($(STACK) prefix) && umask 022 && $(call compile,$(CC),install DESTDIR="$$prefix")

install: ## Compile and install the extension into the PostgreSQL of PG_CONFIG (as its owner, usually root)
	@$(call compile,$(CC),install)

##: running

.PHONY: demo up down status bench bench-outbox
demo: deps private programs ## Show everything once: orders through the proxy, holds at Account, events in Kafka
	@$(PYTHON) sandbox/demo.py

up: deps private programs ## Start all servers and leave them running; then: . .run/env; orderctl --help; psql
	@$(STACK) up

down: ## Stop what `make up` started and discard its data
	@$(STACK) down

status: ## Say what runs
	@$(STACK) status

bench: deps private programs ## Measure (BENCH_ARGS=)
	@$(PYTHON) test/bench/bench.py $(BENCH_ARGS)

bench-outbox: deps private ## Measure the way to Kafka beside a plain relay (BENCH_ARGS='--events 20000 --seconds 2 --rounds 1')
	@$(MAKE) -s -C test/bench relay CC=gcc
	@$(PYTHON) test/bench/bench_outbox.py $(BENCH_ARGS)

##: testing

.PHONY: check lint unit fuzz installcheck prove isolation versions system soak
check: ## Everything, from nothing: deps, both compilers, lint and all test suites
	@sandbox/check.sh

lint: ## Check the layers, sizes and style of the sources
	@$(PYTHON) -m pytest -p no:cacheprovider -q test/lint_test.py
	@$(PYTHON) test/lint.py

unit: ## Unit tests, without a server, under ASan and UBSan
	@$(MAKE) --no-print-directory -C test/unit check

fuzz: ## Feed the parsers with libFuzzer's inventions (SECONDS= for each)
	@$(MAKE) --no-print-directory -C test/fuzz run SECONDS=$(SECONDS)

installcheck: private ## The pgTAP suite, compared with expected/ by pg_regress
	@rm -rf build/$@ && mkdir -p build/$@
	@$(STACK) with-postgres -- $(pgxs_tests)/regress/pg_regress $(regress_options) \
		--inputdir=$(CURDIR) $(or $(sql_tests),$(error no test in sql/)) || $(show_differences)

prove: private ## The same pgTAP suite, read by pg_prove
	@$(STACK) with-postgres -- bash -c 'createdb $@_regression && pg_prove -d $@_regression $(sort $(wildcard sql/*.sql))'

isolation: private ## Concurrent sessions, by pg_isolation_regress
	@rm -rf build/$@ && mkdir -p build/$@
	@$(STACK) with-postgres -- $(pgxs_tests)/isolation/pg_isolation_regress $(regress_options) \
		--inputdir=$(CURDIR)/test/isolation $(or $(isolation_tests),$(error no test in test/isolation/specs/)) \
		|| $(show_differences)

versions: ## The pgTAP suite and the concurrent sessions, with other major versions of PostgreSQL
	@set -e; all=$$($(STACK) fetch-postgres); for pg_config in $$all; do \
		echo "with $$($$pg_config --version):"; \
		$(MAKE) --no-print-directory installcheck isolation PG_CONFIG=$$pg_config; \
	done

# Most tests wait most of the time, so two files run at once, each with servers of its own. The long forms measure.
system: private programs ## Whole systems: real servers, crashes, outages (PYTEST_ARGS=)
	@$(call compile_programs,asan)
	@$(PYTHON) -m pytest -p no:cacheprovider -q -n $(if $(SOAK),0,2) --dist loadfile test/system $(PYTEST_ARGS)

soak: ## The long forms of the system tests, those that have one; takes an hour (PYTEST_ARGS=)
	@SOAK=1 $(MAKE) --no-print-directory system

##: housekeeping

.PHONY: format clean
format: ## Format our C files with clang-format
	@find extension proto proxy client test -name '*.[ch]' ! -name '*.pb-c.[ch]' 2>/dev/null \
		| xargs -r clang-format-14 -i --style=file

clean: ## Take the sandbox down; remove it and all build products
	@if [ -d .run ]; then $(STACK) clean; fi
	@for suite in test/unit test/fuzz; do \
		if [ -f $$suite/Makefile ]; then $(MAKE) --no-print-directory -C $$suite clean; fi; done
	rm -rf build results regression.diffs regression.out
	find extension proto sandbox test -name '*.[od]' -delete -o -name '*.so' -delete -o -name '*.pb-c.[ch]' -delete
	find sandbox test -name __pycache__ -prune -exec rm -rf {} +
