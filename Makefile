# `make help` lists the targets.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: help build run demo test race lint vuln bench cover image ci clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the static binary, bin/manti
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/manti ./cmd/manti

run: ## serve, with a private Postgres if DATABASE_URL isn't set
	go run ./cmd/manti

demo: ## fill a database of its own with a month of plausible traffic
	go run ./cmd/manti demo

test: ## all tests, on a real Postgres
	go test ./...

race: ## the same with the race detector
	go test -race ./...

lint: ## gofmt, vet, staticcheck
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt'd: $$unformatted"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

vuln: ## known vulnerabilities in what is used
	go run $(GOVULNCHECK) ./...

bench: build ## measure against a bare reverse proxy; see docs/performance.md
	go run ./cmd/loadgen all -manti bin/manti

cover: ## test coverage by package
	go test -cover ./...

image: ## the container image manti:$(VERSION)
	docker build --build-arg VERSION=$(VERSION) -t manti:$(VERSION) .

ci: ## what must hold before a change lands
	.ci/run

clean: ## remove what was built
	rm -rf bin
