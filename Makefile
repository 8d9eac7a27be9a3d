# make lab     the two sites, one tunnel, told step by step
# make test    every check and every test, with all their set-up
# make build   bin/culvert
# make lint    gofmt, go vet, staticcheck
# make fuzz    each fuzz target for a while: FUZZTIME=60s
# make interop the scenarios of docs/interop.md with every peer; the page is written anew
#
# A fresh Debian 12 with Go is enough. What else is needed scripts/setup installs
# (as root, or with sudo); a second run finds it there and takes no time.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

# Go's own installation is not on the PATH of every root shell.
GO := $(shell command -v go || echo /usr/local/go/bin/go)
export PATH := $(dir $(GO)):$(PATH):/usr/sbin:/sbin
export CGO_ENABLED := 0
# The tree may belong to another user than the one who builds; git then refuses.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 4s
# culvert, strongswan or kernel: who is at R2 in make lab.
PEER ?= culvert
# certificate, aggressive, ah or nat-t: what is special in make lab; nothing when empty.
SCENARIO ?=

.PHONY: lab test build lint fuzz interop setup go

lab: build
	@scripts/setup $(if $(filter culvert,$(PEER)),lab,test)
	@bin/culvert lab run --peer $(PEER) $(if $(SCENARIO),--scenario $(SCENARIO))

test: setup lint
	@$(GO) run ./internal/tools/testreport -fuzztime $(FUZZTIME) -timeout 25m

build: go
	@$(GO) build -trimpath -o bin/culvert ./cmd/culvert

lint: go
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt -w is needed on:"; echo "$$unformatted"; exit 1; fi
	@$(GO) vet ./...
	@$(GO) run $(STATICCHECK) ./...
	@echo "lint: gofmt, go vet, staticcheck are clean"

fuzz: go
	@$(GO) run ./internal/tools/testreport -fuzzonly -fuzztime $(FUZZTIME)

interop: setup
	@$(GO) test -count=1 -v -timeout 60m ./internal/lab/matrix -update

setup: go
	@scripts/setup test

go:
	@[ -x "$(GO)" ] || { echo "Go is not installed: see https://go.dev/dl (1.26 or newer)" >&2; exit 1; }
