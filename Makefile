# The door. `make` alone lists the targets. Needs python3 (3.11 or newer), make and git.

export SIDECAR_COMMIT ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
export MARKET_COMMIT ?= $(SIDECAR_COMMIT)
BIN := .venv/bin
APPS := @$(BIN)/python tools/apps.py
PYTEST := $(BIN)/python -m pytest
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-20s %s\n", $$1, $$2}'

## run

.PHONY: apps-up apps-dev apps-stop demo sidecar-up market-up webapp-up api-up open logs doctor
apps-up: install ## set up, start the three apps, print the addresses; Ctrl-C ends them
	$(APPS) up
apps-dev: install ## the same, and restart or reload on every change of a source file
	$(APPS) dev
apps-stop: install ## end a running apps-up from another terminal
	$(APPS) stop
demo: install ## the apps and a lively stream of trades, on temporary state, until Ctrl-C
	@$(BIN)/python tools/demo.py $(ARGS)
sidecar-up: install ## only the sidecar
	@$(BIN)/metrics-sidecar
market-up: install ## only the market
	@$(BIN)/market-engine
webapp-up: install ## only the desk
	@$(BIN)/trading-app
api-up: install ## the desk's optional HTTP endpoint
	@$(BIN)/trading-app api
open: install ## open the desk in a browser
	$(APPS) open
logs: install ## show and follow the log of apps-up
	$(APPS) logs
doctor: install ## what this machine has, what is missing, and the cure
	@$(BIN)/python tools/doctor.py

## watch

.PHONY: infra-up infra-down infra-logs infra-local dashboards
infra-up: install ## Prometheus, Alertmanager and Grafana in containers; prints the addresses
	@$(BIN)/python tools/infra.py up
infra-down: install ## end them; their data stays
	@$(BIN)/python tools/infra.py down
infra-logs: install ## show and follow their logs
	@$(BIN)/python tools/infra.py logs
infra-local: install ## without Docker: a Prometheus found on this machine, with our rules and alerts
	@$(BIN)/python tools/infra.py local
dashboards: install ## write the Grafana boards anew from tools/boards
	@$(BIN)/python tools/boards

## set up

.PHONY: env-setup install lock clean reset-state
env-setup: ## the pinned uv, into .tools
	@sh tools/setup.sh env
install: ## everything, locked, into .venv; does nothing when nothing changed
	@sh tools/setup.sh install
lock: env-setup ## renew the lock files (ARGS=--upgrade for the newest versions)
	@sh tools/lock.sh $(ARGS)
clean: ## delete .venv, .tools and caches; never .state
	@rm -rf .venv .tools .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@[ ! -d .run ] || find .run -mindepth 1 -maxdepth 1 ! -name infra -exec rm -rf {} + # containers read .run/infra
reset-state: install ## delete .state (your totals), after asking
	$(APPS) reset-state

## prove

.PHONY: test chaos check format screenshots
test: install ## every test: each project's in an environment of its own, then the whole's (ARGS="-k burst": some, in .venv)
	$(if $(ARGS),,@sh tools/test_alone.sh)
	@$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder $(or $(ARGS),tests)
chaos: install ## kill every part at any moment while an oracle counts along (KILLS=1000 SEED=7)
	@cd tools && ../$(BIN)/python -m chaos $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED)) $(ARGS)
check: install ## lint, format, types, who may import whom, stale locks
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo >/dev/null || $(BIN)/lint-imports
	@$(BIN)/python tools/boards --check
	@sh tools/lock.sh --check
screenshots: install ## take the README's pictures anew, with the end-to-end test
	@SCREENSHOTS=docs/images $(PYTEST) -q tests/test_click_to_panel.py tests/test_live_page.py \
		tests/test_market_page.py tests/test_paper_pages.py
format: install ## mend what lint and format can mend
	@$(BIN)/ruff check -q --fix . ; $(BIN)/ruff format -q .

## measure

BENCHMARK := @$(BIN)/python -m trading_app.benchmark
.PHONY: benchmark benchmark-burst benchmark-sustained benchmark-profile benchmark-peers benchmark-receiving benchmark-compare soak benchmark-market benchmark-paper soak-market
benchmark: install ## what telemetry costs a bot, against its peers, in about two minutes: table, JSON, HTML report
	$(BENCHMARK) suite $(ARGS)
benchmark-burst: install ## only 100,000 trades at once, beside as many bare sends
	$(BENCHMARK) burst $(ARGS)
benchmark-sustained: install ## only a steady rate (ARGS="--rate 10000")
	$(BENCHMARK) sustained $(ARGS)
benchmark-profile: install ## only higher and higher rates, until one is too much
	$(BENCHMARK) profile $(ARGS)
benchmark-peers: install ## only the other ways to count a trade
	$(BENCHMARK) peers $(ARGS)
benchmark-receiving: install ## only the sidecar: rates, time until committed, what it takes
	$(BENCHMARK) receiving $(ARGS)
benchmark-compare: install ## what changed beyond the noise since BASE=some.json (NEW=the latest)
	@[ -n "$(BASE)" ] || { echo "say BASE=an earlier result, as in .run/benchmark/" >&2; exit 2; }
	$(BENCHMARK) compare $(BASE) $(NEW)
soak: install ## ten minutes at 10,000 trades a second: does anything grow?
	@$(BIN)/python tools/soak.py $(ARGS)
benchmark-market: install ## how fast a recorded day goes through parser, analytics and storage (ARGS=--profile)
	@$(BIN)/python tools/market_benchmark.py $(ARGS)
benchmark-paper: install ## how soon a paper order is taken after a tick, and what the desk costs a replay (ARGS=--profile)
	@$(BIN)/python tools/paper_benchmark.py $(ARGS)
soak-market: install ## ten minutes at 10,000 market events a second: all stored, nothing grows, nothing late?
	@$(BIN)/python tools/market_soak.py $(ARGS)
