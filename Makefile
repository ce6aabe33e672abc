# `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PKG     ?= ./...
ARGS    ?=
SOAK    ?= 30m

# Simulated minutes in which a thousand functions with schedules run: three days.
CHAOS_MINUTES ?= 4320

# The version comes from VERSION: Go need not ask Git, which refuses checkouts of other users.
export GOFLAGS += -buildvcs=false
export FLINT_TEST_BINARY     ?= $(CURDIR)/bin/flint
export FLINT_TEST_TOOLCHAINS ?= $(CURDIR)/.tools/toolchains
export FLINT_TEST_SEEDS      ?= $(CURDIR)/.tools/seeds

.PHONY: help setup build run demo test lint check bench soak chaos fuzz clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing on this machine (scripts/setup)
	@scripts/setup

build: ## build bin/flint
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X flint.Version=$(VERSION)' -o bin/flint ./cmd/flint

run: setup build ## start a node in ./flint-data, deploy examples/hello, call it and keep serving
	@scripts/demo --keep

demo: setup build ## the same in a temporary directory; stops, and succeeds when answer and logs were right
	@scripts/demo

test: ## run all tests with the race detector; PKG=./store/... for some
	@scripts/setup --for test
	@$(MAKE) --no-print-directory build
	@bin/flint runtimes install node-22 --data .tools
	@mkdir -p '$(FLINT_TEST_SEEDS)'
	@scripts/test $(PKG)

lint: ## run the linters; the first time compiles them, which takes minutes
	go tool -modfile=tools/go.mod golangci-lint run $(PKG)

check: lint test ## lint, tests, and whether go.mod is tidy
	go mod tidy -diff

bench: ## run the benchmarks; ARGS='-only warm' and the like go to them
	@scripts/setup --for bench
	@$(MAKE) --no-print-directory build
	@bin/flint runtimes install node-22 --data .tools
	go run ./bench $(ARGS)

soak: ## have a node with the race detector and one without do everything for SOAK (30m), and count what they leave behind
	@scripts/setup --for test
	@$(MAKE) --no-print-directory build
	@bin/flint runtimes install node-22 --data .tools
	@mkdir -p '$(FLINT_TEST_SEEDS)'
	CGO_ENABLED=1 FLINT_TEST_SOAK=$(SOAK) go test -race -timeout 0 -count 1 -run '^TestSoak$$' -v ./e2e & detector=$$!; \
	FLINT_TEST_SOAK=$(SOAK) go test -timeout 0 -count 1 -run '^TestSoak$$' -v ./e2e; status=$$?; \
	wait $$detector && exit $$status

chaos: ## kill, stop and starve nodes under load and balance the books; CHAOS_KILLS=50 CHAOS_STOPS=40 CHAOS_FILLS=10 CHAOS_RATE=200 CHAOS_MINUTES=4320 CHAOS_SEED=n
	@scripts/setup --for test
	@$(MAKE) --no-print-directory build
	@bin/flint runtimes install node-22 --data .tools
	@mkdir -p '$(FLINT_TEST_SEEDS)'
	FLINT_TEST_CHAOS=1 go test -timeout 0 -count 1 -parallel 1 -run '^TestChaos' -v ./e2e
	FLINT_TEST_SCHEDULE_MINUTES=$(CHAOS_MINUTES) go test -timeout 0 -count 1 -run '^TestFleet$$' -v ./schedule

fuzz: ## run every fuzz target for FUZZTIME (60s)
	@scripts/fuzz

clean: ## remove what was built and fetched; data directories stay
	rm -rf bin .tools
