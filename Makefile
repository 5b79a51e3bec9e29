# make help lists what can be made here.

VERSION ?= $(shell git describe --tags --dirty 2>/dev/null || \
	echo "0.1.0-dev+$$(git rev-parse --short HEAD 2>/dev/null || echo unknown)")
PREFIX ?= /usr/local
FUZZTIME ?= 10s
SEED ?= $(shell date +%s)
ROUNDS ?= 1000
KILLS ?= 240
COVER ?= 85
PACKAGES ?= ./...

# Where things run at a time, and of the tests there what takes minutes with the race detector.
RACED = ./convert ./guest ./job/... ./host/chain ./host/output ./host/sandbox/...
SLOW = TestHashIsThatOfTheOutput|TestEncrypted|TestWritten|TestIdentical|TestInPlace|TestPassphrase

export CGO_ENABLED = 0

.PHONY: help build demo test lint format bench fuzz fuzz-diff hostile faults kills cover race race-some man emulated install programs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

build: ## build ./instar, one static binary
	go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o instar ./cmd/instar

demo: build ## copy an image that is in the repository and check every byte of the result
	@sh testdata/demo.sh

test: programs lint ## lint, then run every test
	go test -timeout 20m $(PACKAGES)

lint: ## check formatting, go vet, staticcheck
	@unformatted=$$(go tool gofumpt -l .) && test -z "$$unformatted" || \
		{ echo "not formatted (make format):"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go tool staticcheck ./...

format: ## format all Go code
	go tool gofumpt -w .

bench: build ## measure against qemu-img, cp and nbdcopy, and write docs/benchmarks.md and docs/plots
	go run ./bench -instar ./instar -o docs/benchmarks.md

fuzz: ## run every fuzz target for FUZZTIME each
	@sh test/fuzz $(FUZZTIME)

fuzz-diff: ## compare ROUNDS random command lines with qemu-img, from SEED on
	INSTAR_SEED=$(SEED) INSTAR_ROUNDS=$(ROUNDS) go test -count 1 -timeout 12h -v -run 'TestRandom(Windows|Trials)$$' ./test/differential

hostile: ## run every hostile image through every command behind every wall
	INSTAR_HOSTILE=all go test -count=1 -timeout 30m ./test/hostile

faults: ## have every system call on the way of the data fail, and every call of what formats read and write
	@sh test/programs
	INSTAR_FAULTS=all go test -count=1 -timeout 60m -v ./test/faults

kills: ## kill KILLS runs and workers at random moments, from SEED on
	INSTAR_SEED=$(SEED) INSTAR_KILLS=$(KILLS) go test -count=1 -timeout 60m -v ./test/kills

cover: programs ## say how much of each room the tests run, and fail below COVER percent
	@sh test/cover $(COVER) $(PACKAGES)

race: programs ## run the tests of PACKAGES, but for SKIP, with the race detector (gcc is needed)
	@sh test/programs gcc:gcc gcc:libc6-dev
	CGO_ENABLED=1 go test -race -timeout 90m $(if $(SKIP),-skip '$(SKIP)') $(PACKAGES)

race-some: ## race some: what runs at a time, without what takes minutes
	@$(MAKE) --no-print-directory race PACKAGES='$(RACED)' SKIP='$(SLOW)'

man: ## write the manual pages to ./man
	go run ./cmd/manpages man '$(VERSION)'

emulated: ## run the KVM wall on an emulated processor with real AMD-V semantics
	@sh test/programs qemu-system-x86_64:qemu-system-x86
	INSTAR_EMULATED=1 go test -count=1 -timeout 30m ./test/emulated/...

install: build man ## install under PREFIX (/usr/local)
	install -D -m 0755 instar $(DESTDIR)$(PREFIX)/bin/instar
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 0644 man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1/

programs:
	@sh test/programs

clean: ## remove what was built
	rm -rf instar man bench/data
