# Everything that must pass: make test. The rest is for whoever works on it; CONTRIBUTING.md lists it.

ROUNDS ?= 20
SECONDS ?= 30
PYTHON := target/python
SCENARIO ?= all
# A runner that stops at nothing until all has run, where there is one.
RUNNER = $(shell command -v cargo-nextest >/dev/null && echo "nextest run --no-fail-fast" || echo "test --no-fail-fast")

OUTAGE_SECONDS ?= 180

.PHONY: test lint docs crash crash-servers soak fuzz work bench python tools browser browser-modules figures instructions

test: tools python browser-modules
	cargo $(RUNNER) --workspace

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

# What tests use besides Rust.
tools:
	@missing=""; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	command -v redis-cli >/dev/null || missing="$$missing redis-tools"; \
	command -v psql >/dev/null && command -v pg_dump >/dev/null || missing="$$missing postgresql-client"; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	if [ -n "$$missing" ]; then \
		sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		$$sudo apt-get update -qq && $$sudo apt-get install -y -qq $$missing; \
	fi

# An interpreter of our own, with what tests/python needs; made once, and anew when that changes. One at a time: tests ask
# for it too, in parallel.
python:
	@mkdir -p target && flock target/python.lock sh -c ' \
	if ! cmp -s tests/python/requirements.txt $(PYTHON)/made-for; then \
		python3 -m venv --clear $(PYTHON) && \
		$(PYTHON)/bin/pip install -q --disable-pip-version-check -r tests/python/requirements.txt && \
		cp tests/python/requirements.txt $(PYTHON)/made-for; \
	fi'

# What drives Chromium in tests/browser: made anew when the list of it changes. One at a time: tests ask for it too.
browser-modules:
	@mkdir -p target && flock target/browser.lock sh -c ' \
	cd tests/browser && \
	if ! cmp -s package-lock.json node_modules/made-for; then \
		npm ci --silent --no-audit --no-fund && cp package-lock.json node_modules/made-for; \
	fi'

# The dashboard in a real Chromium, without the other tests; SHOTS=folder leaves pictures there.
browser: tools browser-modules
	cargo build -q
	cd tests/browser && node --test --test-concurrency=2 find.test.mjs live.test.mjs looks.test.mjs pages.test.mjs

# The settings tables, from the program's own list.
docs:
	cargo build -q
	{ sed '/^<!-- tables -->$$/q' docs/CONFIGURATION.md; echo; cd target && ./debug/logboom config --markdown; } > target/CONFIGURATION.md
	mv target/CONFIGURATION.md docs/CONFIGURATION.md

crash:
	ROUNDS=$(ROUNDS) cargo test --test suite crash:: -- --nocapture

# Every part of a Logboom on Redis and Postgres killed at random, ROUNDS times.
crash-servers:
	ROUNDS=$(ROUNDS) cargo test --test suite crash_servers:: -- --nocapture

# Redis, Postgres and both away for minutes instead of seconds.
soak:
	OUTAGE_SECONDS=$(OUTAGE_SECONDS) cargo test --test suite away -- --nocapture --test-threads 1

# Every target for so long; `fuzz/run.sh` takes some of them.
fuzz:
	fuzz/run.sh $(SECONDS)

# What bad lines cost, in instructions per byte, short and long, for every format; needs valgrind, and some ten minutes.
work:
	cargo build -q --release -p record --example work
	benches/work.py target/release/examples/work

bench:
	cargo run --release -- bench $(SCENARIO)

# The figures that README.md and docs/PERFORMANCE_RESULTS.md show, from the newest runs in results/.
figures:
	cargo run -q -- bench report --readme

# benches/instructions.toml anew, for the compiler at hand.
instructions:
	LOGBOOM_WRITE_INSTRUCTIONS=1 cargo test -q -p engine --test instructions
