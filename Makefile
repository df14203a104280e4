# make run     the main job: wake every event loop found here, from threads
# make test    every test, stress at a small size
# make stress  the same, stress at full size
# make lint    formatters, linters, type checkers, stubs
# make sanitize  the Rust tests under ThreadSanitizer (nightly, with rust-src) and valgrind
# make bench   the measurements of benches/
# make stubs   write python/wakefd/_wakefd.pyi anew
# make clean   remove all that was built here
#
# ARGS="..." goes to the program that a target runs: make test ARGS="-k fork -x"
# PYTHON=python3.13 VENV=.venv313 choose the interpreter and where its environment lives.
#
# Every target does its own set-up, in the checkout; no environment need be active.

VENV ?= .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input
PYTHONS := $(or $(PYTHON),$(PY) python3 python3.14 python3.13 python3.12 python3.11 python)
export WAKEFD_STRESS ?= small

# An active environment, or a pip told to install elsewhere, must not leak in.
unexport CONDA_PREFIX PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX
export PIP_USER := 0
export VIRTUAL_ENV = $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))

.PHONY: help run test stress sanitize lint bench stubs clean FORCE
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

run: $(VENV)/.built $(VENV)/.group-run
	@$(PY) -m wakefd $(ARGS)

stress: export WAKEFD_STRESS = full
stress: PYTEST_LIMITS = --timeout=3600 -o faulthandler_timeout=7200
test stress: $(VENV)/.built $(VENV)/.group-test
	@echo "==> cargo test"
	@cargo test --profile quick --features async-io
	@echo "==> pytest"
	@$(PY) -m pytest $(PYTEST_LIMITS) $(ARGS)

# The standard library is built for the sanitizer, too: it knows no fences, and an installed library drops Arcs with one.
NIGHTLY ?= nightly
SANITIZED := --test event --test native --test byte_queue
sanitize:
	RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" CARGO_TARGET_DIR=target/tsan \
		cargo +$(NIGHTLY) test -Zbuild-std --target x86_64-unknown-linux-gnu $(SANITIZED) --no-fail-fast
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind --quiet --error-exitcode=9 --fair-sched=yes" \
		cargo test --target x86_64-unknown-linux-gnu $(SANITIZED) --no-fail-fast

bench: $(VENV)/.built $(VENV)/.group-bench
	@$(PY) benches/run.py $(ARGS)

lint: $(VENV)/.built $(VENV)/.group-lint
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --all-targets --features abi3,async-io -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --features abi3,async-io
	$(PY) tests/lint/layers.py
	$(PY) tests/loom/run --check
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) -m basedpyright --pythonpath $(PY)
	PYTHONPATH=python $(PY) -m basedpyright --pythonpath $(PY) --ignoreexternal --verifytypes wakefd --outputjson \
		| $(PY) -c "$$UNTYPED"
	$(PY) -m mypy.stubtest --mypy-config-file pyproject.toml --allowlist tests/face/stubtest_allowlist wakefd._wakefd
	$(GENERATE_STUBS) --out $(VENV)/stubs
	diff -u python/wakefd/_wakefd.pyi $(VENV)/stubs/wakefd/_wakefd.pyi

# What is derived from PySide6's classes counts as unknown, whatever it says itself.
define UNTYPED
import json, sys
symbols = json.load(sys.stdin)["typeCompleteness"]["symbols"]
public = [s["name"] for s in symbols if s["isExported"] and not s["isTypeKnown"]]
unknown = [name for name in public if not name.startswith("wakefd.qt.")]
sys.exit(f"types unknown: {unknown}" if unknown else 0)
endef
export UNTYPED

GENERATE_STUBS = $(PY) -m maturin generate-stubs --quiet --features abi3,stubs
stubs: $(VENV)/.group-build
	$(GENERATE_STUBS) --out python

clean:
	rm -rf .venv* target python/wakefd/*.so .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# ---- set-up: each step leaves a stamp in $(VENV), and is done again when what it depends on is newer

# An editable install: edits of Python files need no build.
SO := $(wildcard python/wakefd/_wakefd.*.so)
RUST := Cargo.toml $(wildcard Cargo.lock build.rs) $(shell find src -name '*.rs' -o -type d)
$(VENV)/.built: $(VENV)/.group-build $(RUST) $(if $(SO),,FORCE)
	@echo "==> building the extension" >&2
	@$(PY) -m maturin develop --release >&2
	@touch $@

$(VENV)/.group-%: $(VENV)/.made pyproject.toml
	@echo "==> installing what '$*' needs" >&2
	@$(PIP) install --group $* >&2
	@touch $@

# Which interpreter, for which checkout; a copy of the checkout must not import from the original.
define PROBE
import ensurepip, os, sys, venv
print(os.path.realpath(sys.executable))
sys.exit(sys.version_info < (3, 11))
endef
export PROBE
$(VENV)/.made: FORCE
	@fail() { echo "wakefd: $$1" >&2; exit 1; }; \
	command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.85 or newer (https://rustup.rs)"; \
	minor=$$(rustc --version 2>/dev/null | sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p'); \
	[ "$${minor:-0}" -ge 85 ] || fail "rustc >= 1.85 is missing, found: $$(rustc --version 2>/dev/null || echo none)"; \
	command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null \
		|| fail "a C linker is missing: Rust links with cc"; \
	for p in $(PYTHONS); do python=$$("$$p" -c "$$PROBE" 2>/dev/null) && break; python=; done; \
	[ -n "$$python" ] || fail "Python >= 3.11 with venv and ensurepip is missing, tried: $(PYTHONS)"; \
	made="$(CURDIR) $$python"; \
	if [ "$$made" = "$$(cat $@ 2>/dev/null)" ]; then exit 0; fi; \
	if [ -e $@ ] || [ -e $@.part ]; then rm -rf "$(VENV)"; fi; \
	[ ! -e "$(VENV)" ] || fail "$(VENV) was not made by this Makefile: remove it, or choose another with VENV="; \
	mkdir -p "$(VENV)" && echo "$$made" >$@.part || exit 1; \
	echo "==> making $(VENV) with $$python" >&2; \
	"$$python" -m venv "$(VENV)" && $(PIP) install --quiet --upgrade 'pip>=25.1' >&2 && mv $@.part $@
