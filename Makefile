# `make run` shows it working, `make test` checks everything, `make release` builds the proxy as it is fastest.

CARGO  ?= cargo
NPM    ?= npm
LISTEN ?= 127.0.0.1:8080
ADMIN  ?= 127.0.0.1:9901
BACKEND ?= 127.0.0.1:8081
# Where `make run` keeps its secret and its database.
STATE  ?= .run
BINARIES = $(or $(CARGO_TARGET_DIR),target)/debug

# Where `make release` builds, and what is learnt there. LLVM's tools must be as new as rustc's LLVM.
PGO = $(abspath $(or $(CARGO_TARGET_DIR),target))/pgo
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
LLVM = $(shell rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
PROFDATA ?= $(firstword $(wildcard $(shell rustc --print sysroot)/lib/rustlib/$(HOST)/bin/llvm-profdata) \
  $(shell command -v llvm-profdata-$(LLVM)))
BOLT ?= $(shell command -v llvm-bolt-$(LLVM))
MERGE_FDATA ?= $(shell command -v merge-fdata-$(LLVM))
BUILT = $(PGO)/$(HOST)/release/ownergate
# Puts blocks and functions in the order in which they run, puts what never ran far away, and makes one of equal functions.
# BOLT can move functions only where the linker has kept relocations.
LAYOUT = -reorder-blocks=ext-tsp -reorder-functions=cdsort -split-functions -split-all-cold -split-eh -icf=safe

.PHONY: run test release check-llvm check-rust check-node check-postgres

# Builds, makes a secret, starts the proxy with the task service as its child, and prints what to try with a token.
run: check-rust
	$(CARGO) build --locked -p ownergate -p task-service
	@umask 077; mkdir -p $(STATE); \
	test -s $(STATE)/secret || head -c 32 /dev/urandom | base64 > $(STATE)/secret; \
	token=$$($(BINARIES)/ownergate token --secret-file $(STATE)/secret --user alice --expires-in 1d) || exit 1; \
	( for try in $$(seq 100); do \
	    curl -sf http://$(ADMIN)/readyz >/dev/null && break; \
	    sleep 0.1; test $$try -lt 100 || exit 1; \
	  done; \
	  printf '%s\n' '' "A token for alice, and what to try with it in another terminal:" '' \
	  "curl -i http://$(LISTEN)/api/alice/tasks -H 'Authorization: Bearer $$token' -H 'Content-Type: application/json' -d '{\"title\":\"Buy milk\"}'   # 201: a task" '' \
	  "curl -i http://$(LISTEN)/api/alice/tasks -H 'Authorization: Bearer $$token'   # 200: her tasks" '' \
	  "curl -i http://$(LISTEN)/api/bob/tasks -H 'Authorization: Bearer $$token'   # 403: not hers" '' ) & \
	exec $(BINARIES)/ownergate --listen $(LISTEN) --admin $(ADMIN) --upstream http://$(BACKEND) \
	  --secret-file $(STATE)/secret -- $(BINARIES)/task-service --listen $(BACKEND) --database $(STATE)/tasks.db

# Formatting, lints, unit, property and end-to-end tests, and the tests of the Better Auth example.
test: check-rust check-node check-postgres
	$(CARGO) fmt --all --check
	$(NPM) --prefix examples/better-auth ci
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --workspace --locked
	$(CARGO) build --manifest-path proxy/fuzz/Cargo.toml --target-dir $(or $(CARGO_TARGET_DIR),target)
	$(NPM) --prefix examples/better-auth test

# The proxy as it is fastest: built once to record what an ordinary day runs, once more by that record, and laid out by
# another such day. Cargo sees a record's name and not its content, so what the last one compiled has to go.
release: check-rust check-llvm
	rm -rf $(PGO)/records $(PGO)/layout $(PGO)/$(HOST)
	RUSTFLAGS="-Cprofile-generate=$(PGO)/records" $(CARGO) build --locked --release --target $(HOST) --target-dir $(PGO)/training -p ownergate
	$(CARGO) run --locked -p e2e --example train -- $(PGO)/training/$(HOST)/release/ownergate
	$(PROFDATA) merge -o $(PGO)/ownergate.profdata $(PGO)/records
	RUSTFLAGS="-Cprofile-use=$(PGO)/ownergate.profdata -Clink-arg=-Wl,--emit-relocs" \
	  $(CARGO) build --locked --release --target $(HOST) --target-dir $(PGO) -p ownergate
	mkdir $(PGO)/layout
	$(BOLT) $(BUILT) -instrument -instrumentation-file=$(PGO)/layout/record -instrumentation-file-append-pid -o $(PGO)/layout/ownergate
	$(CARGO) run --locked -p e2e --example train -- $(PGO)/layout/ownergate
	$(MERGE_FDATA) -o $(PGO)/layout/merged $(PGO)/layout/record.*
	$(BOLT) $(BUILT) -data=$(PGO)/layout/merged $(LAYOUT) -o $(PGO)/ownergate
	@echo "built: $(PGO)/ownergate"

check-llvm:
	@test -n "$(PROFDATA)" || { \
	  echo "missing: llvm-profdata of LLVM $(LLVM) (rustup component add llvm-tools, or Debian: apt-get install llvm-$(LLVM))" >&2; exit 1; }
	@test -n "$(BOLT)" && test -n "$(MERGE_FDATA)" || { \
	  echo "missing: llvm-bolt and merge-fdata of LLVM $(LLVM) (Debian: apt-get install bolt-$(LLVM))" >&2; exit 1; }

check-rust:
	@command -v $(CARGO) >/dev/null || { echo "missing: Rust 1.95 or newer, with rustfmt and clippy (https://rustup.rs)" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "missing: a C compiler, for the cryptography and SQLite (Debian: apt-get install build-essential)" >&2; exit 1; }

check-node:
	@node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2>/dev/null || { \
	  echo "missing: Node 20 or newer, for the end-to-end tests with the real Better Auth (https://nodejs.org)" >&2; exit 1; }
	@command -v $(NPM) >/dev/null || { echo "missing: npm, which comes with Node" >&2; exit 1; }

check-postgres:
	@test -n "$$POSTGRES_BIN$$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null)" || { \
	  echo "missing: PostgreSQL's server programs, for the task service's second store (Debian: apt-get install postgresql)" >&2; exit 1; }
