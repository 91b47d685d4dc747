#!/usr/bin/env bash
# Measures: every Go benchmark, then the pool beside a server that validates nothing (TestBench of cmd/cordee-load), whose
# tables it writes into docs/performance.md. For `make bench`, which says what it obeys. A limit that a benchmark misses, or a
# figure that cannot be had, is told at the end and does not keep the rest from being measured; then nothing is written.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
failed=0
export CORDEE_BENCH=1
mkdir -p .cache

if [[ -n "${QUICK:-}" ]]; then # prints, and writes nothing: its windows are short
	exec "$go" test -count=1 -v -timeout 15m -run '^TestBench$' ./cmd/cordee-load/
fi
"$go" test -run '^$' -bench . -benchmem -count "${COUNT:-6}" ./... | tee .cache/bench.txt || failed=1
.cache/bin/benchstat ${BASE:+"$BASE"} .cache/bench.txt
BENCH_GO=$PWD/.cache/bench.txt BENCH_INTO=$PWD/docs/performance.md \
	"$go" test -count=1 -v -timeout 40m -run '^TestBench$' ./cmd/cordee-load/ || failed=1
exit "$failed"
