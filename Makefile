# onecard. `make` lists what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The version that the programs print and the API publishes.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)

# How long each fuzz target runs in `make fuzz`.
FUZZTIME ?= 20s

.PHONY: help setup build run test lint bench fuzz soak clean

help: ## list these targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make run ARGS=--once    play the visit and stop"
	@echo "  make test PARTS='unit docs'    only these parts (scripts/test --list names them)"
	@echo "  make fuzz FUZZTIME=2m   how long each fuzz target runs (default $(FUZZTIME))"

setup: ## install what building and testing need (Debian packages where root, Go modules)
	@scripts/setup

build: setup ## bin/onecardd, bin/onecard, bin/hsm-sim
	@go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/onecardd ./cmd/onecard ./cmd/hsm-sim

run: build ## play a visit on the real PC/SC stack and keep serving http://127.0.0.1:8750/
	@exec scripts/run $(ARGS)

test: build ## everything: lint, unit and property tests with -race, PC/SC, browser, demonstration, docs
	@exec scripts/test $(PARTS)

lint: setup ## gofmt, go vet, staticcheck, shellcheck, and the Windows build of what has to build there
	@exec scripts/lint

bench: build ## identity through pcscd, settlement, start-up, memory: each with what it is compared with
	@exec scripts/bench $(ARGS)

fuzz: setup ## run every fuzz target for FUZZTIME
	@exec scripts/fuzz $(FUZZTIME)

soak: setup ## long: onecardd killed 500 times while it settles, bad lines, the storm, pcscd killed 200 times; some twenty minutes
	@exec scripts/soak

clean: ## remove what was built
	rm -rf bin dist .state
