# Two commands do everything: `make run` (a demonstration meeting on this machine) and `make test`.
# Neither needs anything installed by hand beyond Go, Node and a browser to look with; see scripts/need.

SHELL := /bin/bash
GOFLAGS_BUILD := -trimpath -ldflags "-s -w"
DATA ?= ./data

# What the web client is built from. Generated and installed files are not inputs.
WEB_INPUTS := $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*' -not -path 'web/test*' -not -name '*.go' 2>/dev/null)

.PHONY: run test bench bench-gate bench-record bench-trace build clean \
	need wasm web binaries test-needs test-vet test-go test-wasm test-race test-web test-end

run: build ## the demonstration: prints one link per person
	@exec bin/conclave demo --data $(DATA) $(DEMO)

build: need binaries ## everything that runs, into bin/

test: need ## all tests; installs what they need where it may
	@scripts/need-test
	@$(MAKE) --no-print-directory build test-vet test-go test-wasm test-race test-web test-end
	@echo 'make test: everything passed'

bench: build test-needs test/node_modules/.package-lock.json ## what must be fast, compared within one run
	@scripts/say go test -run '^$$' -bench . -benchmem ./sfu/... ./endpoint/... ./sframe/... ./mls/... ./pass/... ./opus/... ./admission/... ./store/... ./phone/...
	@scripts/say go test -run '^9137' -bench RulingWithItsRecord -benchmem -benchtime 5s ./server
	@scripts/say node test/bench-mls/run.mjs

bench-gate: ## from a line that turns bad to keys without it, and back, in rooms of 2, 20, 50 and 100
	@go test ./server -run TestFiguresOfTheGate -count=1 -timeout 20m -v -args -figures.legs 2,20,50,100 -figures.rounds 20

bench-record: ## the record: 1000 kills of what records, 300 of a server in a meeting, 10 million records (30 min on two busy cores; 7 GB in TMPDIR)
	@go test ./audit/folder -run TestNoEffectIsWithoutItsRecord -count=1 -timeout 2h -v -args -kills 1000
	@go test ./cmd/conclaved -run TestAServerThatIsKilledInAMeeting -count=1 -timeout 2h -v -args -kills 300
	@go test ./audit/folder -run TestTheLogAtScale -count=1 -timeout 2h -v -args -records 10000000

bench-trace: test-needs ## which share of recordings is traced, after what was done to them (an hour or two)
	@go run ./test/bench-trace -clips 30 -narrow -enough 100

need:
	@scripts/need go node npm

wasm: bin/conclave.wasm

web/node_modules/.package-lock.json: web/package-lock.json web/package.json
	@cd web && ../scripts/say npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# Always asked, but the file is touched only when it comes out different.
bin/conclave.wasm: need
	@scripts/build wasm

web/dist/.built: $(WEB_INPUTS) web/node_modules/.package-lock.json bin/conclave.wasm
	@cd web && ../scripts/say npm run build --silent
	@touch $@

binaries: web/dist/.built
	@scripts/build binaries

test-needs:
	@scripts/need-test

test-vet:
	@scripts/say go vet ./...
	@GOOS=js GOARCH=wasm scripts/say go vet ./cmd/conclave-wasm

# ts-mls, the second implementation that ours is held against.
mls/interop/node_modules/.package-lock.json: mls/interop/package-lock.json mls/interop/package.json
	@cd mls/interop && ../../scripts/say npm ci --no-audit --no-fund --loglevel=error
	@touch $@

test-go: mls/interop/node_modules/.package-lock.json test/node_modules/.package-lock.json
	@scripts/say scripts/test-go

# What the browser runs as WebAssembly, under Node.
test-wasm:
	@scripts/say scripts/test-wasm

# The race detector costs ten times the time, so it watches only the packages in which goroutines meet.
test-race:
	@scripts/say go test -race -short ./sfu/... ./signal/... ./store/... ./endpoint/... ./server/... ./phone/call ./phone/jitter ./phone/media ./phone/sip ./gateway

test-web: web/node_modules/.package-lock.json
	@cd web && ../scripts/say npm run check --silent && ../scripts/say npm test --silent

test/node_modules/.package-lock.json: test/package-lock.json test/package.json
	@cd test && ../scripts/say npm ci --no-audit --no-fund --loglevel=error
	@touch $@

test-end: test/node_modules/.package-lock.json
	@scripts/say test/run

clean: ## all that was built; ./data stays
	rm -rf bin web/dist web/node_modules test/node_modules mls/interop/node_modules test/results
