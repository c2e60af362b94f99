# The few commands a person needs; each one is a script or a single cargo call, so reading this file is enough.
# run and test share cargo's dev profile (optimised as in Cargo.toml), so nothing is built twice; bench alone uses release.

LISTEN         ?= 127.0.0.1:8080
CONTROL_LISTEN ?= 127.0.0.1:8090
DATA_DIR       ?= .edgeseal

.DEFAULT_GOAL := help
.PHONY: help run demo-guardrail test bench fuzz vectors fmt

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: ## build what is missing and serve the demo (LISTEN=127.0.0.1:8080 CONTROL_LISTEN=127.0.0.1:8090 DATA_DIR=.edgeseal)
	@cargo run --quiet --locked --package edgeseal -- serve --demo --data-dir "$(DATA_DIR)" --listen "$(LISTEN)" \
		--control-listen "$(CONTROL_LISTEN)"

demo-guardrail: ## a harmful variant is paused, and a local webhook hears of it
	@cargo build --quiet --locked --package edgeseal --bin edgeseal --example demo_guardrail
	@"$${CARGO_TARGET_DIR:-target}/debug/examples/demo_guardrail"

test: ## install what the tests need, then run every check and suite
	@scripts/test.sh

bench: ## measure, print the figures and write bench/results.json (ONLY=edge, control or browser for a part)
	@cargo run --quiet --locked --release --package edgeseal-bench -- $(ONLY)

fuzz: ## fuzz core's parsers for FUZZ_SECONDS (60) each
	@scripts/fuzz.sh

vectors: ## write vectors/ anew; an unchanged tree is the expected outcome
	@cargo run --quiet --locked --package edgeseal-testkit --bin vectors

fmt: ## format the Rust sources
	@cargo fmt --all
