#!/usr/bin/env bash
# fuzz.sh [time] [regexp]: runs every fuzz target of the tree whose name fits the regexp (all of them), each for the time
# given (10m). All of them run, even after one failed.
set -euo pipefail
time=${1:-10m} wanted=${2:-.}

# `go test -list` prints the names of a package's targets, then "ok <package>".
targets=$(go test -list '^Fuzz' ./... | WANTED=$wanted awk '
	/^Fuzz/ { if ($1 ~ ENVIRON["WANTED"]) names[++n] = $1; next }
	$1 == "ok" { for (i = 1; i <= n; i++) print $2, names[i] }
	{ n = 0 }')
if [[ -z $targets ]]; then
	echo "no fuzz target's name fits '$wanted': give a regexp of names as FuzzLine, or none for all" >&2
	exit 2
fi

# What go test says when the time is up while a worker is at an input, which its fuzzer takes for a failure now and then.
# A finding has its values or its panic there, and "Failing input written to".
deadline_only() {
	! grep -q 'Failing input written' "$log" &&
		[[ $(grep -A1 "^--- FAIL: $1 " "$log" | tail -n +2 | tr -d ' \t') == contextdeadlineexceeded ]]
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=()
while read -r package name; do
	[[ -n $package ]] || continue
	echo "== $package $name"
	if ! go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "$package" 2>&1 | tee "$log"; then
		if deadline_only "$name"; then
			echo "the time was up within an input: no finding"
		else
			failed+=("$package $name")
		fi
	fi
done <<<"$targets"

if ((${#failed[@]} > 0)); then
	printf 'FAIL %s\n' "${failed[@]}" >&2
	exit 1
fi
