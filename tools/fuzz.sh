#!/usr/bin/env bash
# make fuzz: runs every fuzz target of the tree, each for the time given (20s). All of them run, even after one failed.
set -euo pipefail
time=${1:-20s}

# `go test -list` prints the names of a package's targets, then "ok <package>".
targets=$(go test -list '^Fuzz' ./... | awk '
	/^Fuzz/ { names[++n] = $1; next }
	$1 == "ok" { for (i = 1; i <= n; i++) print $2, names[i] }
	{ n = 0 }')

failed=()
while read -r package name; do
	[[ -n $package ]] || continue
	echo "== $package $name"
	go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "$package" || failed+=("$package $name")
done <<<"$targets"

if ((${#failed[@]} > 0)); then
	printf 'FAIL %s\n' "${failed[@]}" >&2
	exit 1
fi
