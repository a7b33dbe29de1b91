# Weir needs Go (1.21 or later; it fetches the toolchain that go.mod names) and make.
# `make demo` runs the demo, `make test` runs every check.

export GOTOOLCHAIN := auto

include internal/buildflags/flags.mk

GO ?= go
SEEDS ?= 10000
PKGS ?= ./...
# For each process of the toolchain; a linker under -race is the largest.
MEMLIMIT ?= 3GiB

.PHONY: demo test build check vet staticcheck lint fmt race-test sim-test sim bench proto tools clean
.NOTPARALLEL: # each step uses all cores by itself

demo: build
	@if [ -t 0 ] && [ -t 1 ]; then bin/weir demo $(DEMO_FLAGS); else bin/weir demo --ci $(DEMO_FLAGS); fi

# The shipped program: static, reproducible.
build:
	@mkdir -p bin
	$(BUILD_ENV) $(GO) build $(BUILD_FLAGS) -ldflags '$(LDFLAGS)' -o bin/ ./cmd/weir

test: check race-test sim-test

# --- checks -----------------------------------------------------------------

check: vet staticcheck lint

vet:
	GOMEMLIMIT=$(MEMLIMIT) $(GO) vet $(PKGS)
	cd tools && $(GO) vet ./...

staticcheck: tools
	GOMEMLIMIT=$(MEMLIMIT) bin/tools/staticcheck $(PKGS)

# gofmt, imports, sizes, names, docs, and that generated code is current.
lint: tools
	$(GO) test -count=1 ./internal/lint

fmt:
	$$($(GO) env GOROOT)/bin/gofmt -l -w .

# --- tests ------------------------------------------------------------------

# The race detector needs a C compiler; without one the tests run all the same, with
# the invariants that it would have turned on.
RACE := $(shell command -v $$($(GO) env CC) >/dev/null 2>&1 && echo -race || echo -tags=invariants)
CGO := $(if $(filter -race,$(RACE)),1,0)

# Long pure simulations: one goroutine, so the detector would only slow them down.
NORACE = /integration/sim

race-test: tools
	@case "$(RACE)" in -race) ;; *) echo "no C compiler: tests run without -race" >&2;; esac
	GOMEMLIMIT=$(MEMLIMIT) CGO_ENABLED=$(CGO) $(GO) test $(RACE) -vet=off -p 2 -timeout 25m \
		$$($(GO) list $(PKGS) | grep -v '$(NORACE)$$' | grep -v '$(NORACE)/')

sim-test:
	@if [ -d integration/sim ]; then \
		GOMEMLIMIT=$(MEMLIMIT) $(GO) test -tags=invariants -vet=off -timeout 15m ./integration/sim/...; fi

# Many seeds of the simulator: make sim SEEDS=100000
sim:
	$(GO) run -tags=invariants ./integration/sim/simcmd -seeds $(SEEDS)

# The measured workloads; flags as in bench/.
bench:
	@mkdir -p bin
	$(BUILD_ENV) $(GO) build $(BUILD_FLAGS) -ldflags '$(LDFLAGS)' -o bin/bench ./bench
	bin/bench --workload count --n 100000000 --keys 1000000 --backend heap --checkpoint-ms 1000
	bin/bench --workload count --n 20000000 --keys 1000000 --backend pebble --checkpoint-ms 1000
	bin/bench --workload words --n 2000000 --keys 10000 --backend heap
	bin/bench --workload latency --n 2500000 --keys 100000 --rate 100000 --backend heap --checkpoint-ms 1000

# --- generated code and tools -----------------------------------------------

proto: tools
	bin/tools/protogen

# Versions are pinned in tools/go.mod. Built here, so always by this toolchain: a
# checker must understand the language version it checks.
tools:
	@mkdir -p bin/tools
	@cd tools && $(GO) build -trimpath -o ../bin/tools/ tool

clean:
	rm -rf bin
