# The menu of this repository: `make` shows it.
SHELL       := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

GO       ?= go
ARGS     ?=
FUZZTIME ?= 10m
TARGETS  ?=
COUNT    ?= 6
KILLS    ?= 100
AWAY     ?= 1h
BASE     ?=
TOOLS    := .cache/bin

.PHONY: help deps build test demo ci race lint fuzz e2e chaos soak storm bench fmt clean

help: ## show this menu
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

deps: ## install what the tests use and the machine lacks, through apt
	@tools/deps.sh

build: ## build the programs into bin/
	$(GO) build -o bin/ ./cmd/...

test: deps ## run every test, on a real node (5 minutes at most, cold)
	$(GO) test -count=1 -timeout 5m ./...

demo: build ## mine on a private chain and watch; ARGS="--blocks 3 --json" ends after 3 blocks
	bin/cordee demo $(ARGS)

ci: ## everything .ci/run asks for after the tests: lint, race, fuzz, e2e with kills (40 minutes at most)
	@tools/stage.sh lint 600 $(MAKE) lint
	@tools/stage.sh race 600 $(MAKE) race
	@tools/stage.sh fuzz 900 $(MAKE) fuzz FUZZTIME=20s TARGETS=
	@tools/stage.sh e2e 300 $(MAKE) e2e

race: ## run every test under the race detector, in random order
	$(GO) test -race -shuffle=on -count=1 -timeout 10m ./...

lint: $(TOOLS)/golangci-lint ## check formats, mistakes and the rules of .golangci.yml
	$(TOOLS)/golangci-lint run ./...

fuzz: ## fuzz every target, or those that fit TARGETS='Line|Session', for FUZZTIME (10m) each
	tools/fuzz.sh $(FUZZTIME) '$(value TARGETS)'

# What CI adds to the same tests of make test: ten kills, a minute without Redis, and one of minerd where CORDEE_MINERD is set.
e2e: export CORDEE_CHAOS_KILLS = 10
e2e: export CORDEE_REDIS_AWAY = 60s
e2e: export CORDEE_MINERD_FOR = 60s
e2e: ## run the programs and nodes as processes, some killed: on btcd, and on CORDEE_BITCOIND where that is set
	env -u CORDEE_BITCOIND $(GO) test -count=1 -timeout 5m ./cmd/... ./internal/sandbox/
	@if [[ -n "$${CORDEE_BITCOIND:-}" ]]; then set -x; $(GO) test -count=1 -timeout 5m ./cmd/... ./internal/sandbox/; fi

chaos: export CORDEE_CHAOS_KILLS = $(KILLS)
chaos: ## kill -9 pool and Redis KILLS (100) times while rigs mine, and recompute everything; on the nodes of e2e
	env -u CORDEE_BITCOIND $(GO) test -count=1 -v -timeout 60m -run '^TestChaos$$' ./cmd/cordee/
	@if [[ -n "$${CORDEE_BITCOIND:-}" ]]; then set -x; $(GO) test -count=1 -v -timeout 60m -run '^TestChaos$$' ./cmd/cordee/; fi

soak: ## split 10 million shares by both paths, then mine without Redis for AWAY (1h)
	CORDEE_PPLNS_SHARES=10000000 $(GO) test -count=1 -v -timeout 60m -run '^TestPathsAgreeOverManyShares$$' ./payout/verify/
	CORDEE_REDIS_AWAY=$(AWAY) $(GO) test -count=1 -v -timeout 6h -run '^TestRedisGoesAway$$' ./cmd/cordee/

storm: ## 9300 rigs beside 100 hostile clients of each kind: no reject, memory, and p99 with and without (4 minutes)
	CORDEE_SLOW=1 $(GO) test -count=1 -v -timeout 15m -run '^TestCrowd$$' ./cmd/cordee/

bench: export GO := $(GO)
bench: export COUNT := $(COUNT)
bench: export BASE := $(BASE)
bench: $(TOOLS)/benchstat ## measure everything into docs/performance.md (25 minutes); QUICK=1 prints only (3); PEER_URL, PEER_PID, BASE: see there
	@tools/bench.sh

fmt: $(TOOLS)/golangci-lint ## format every Go file as lint wants it
	$(TOOLS)/golangci-lint fmt

clean: ## remove what make and the demo made; caches of the user stay
	rm -rf bin .cache demo-data coverage.out

# The tools are modules of their own, each with its versions pinned by go.mod and go.sum.
$(TOOLS)/golangci-lint: tools/lint/go.mod tools/lint/go.sum
	$(GO) build -C tools/lint -o "$(CURDIR)/$@" github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(TOOLS)/benchstat: tools/bench/go.mod tools/bench/go.sum
	$(GO) build -C tools/bench -o "$(CURDIR)/$@" golang.org/x/perf/cmd/benchstat
