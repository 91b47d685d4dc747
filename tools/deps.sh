#!/usr/bin/env bash
# make deps: installs through apt what the tests use and the machine lacks. What cannot be installed is named, and is
# no failure here: the test that needs it skips, or fails where CI=true.
set -euo pipefail

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
command -v cc >/dev/null || missing+=(gcc libc6-dev) # go test -race links with it
# In CI only: what runs the kernel of arm64 on another processor (60 MB), and the balancers that are mined through.
if [[ ${CI:-} == true ]]; then
	command -v haproxy >/dev/null || missing+=(haproxy)
	command -v nginx >/dev/null || missing+=(nginx libnginx-mod-stream)
	[[ $(uname -m) == aarch64 ]] || command -v qemu-aarch64-static >/dev/null || missing+=(qemu-user-static)
fi
if ((${#missing[@]} == 0)); then
	exit 0
fi

as_root=()
if ((EUID != 0)); then
	as_root=(sudo -n)
fi
if ! command -v apt-get >/dev/null || { ((EUID != 0)) && ! sudo -n true 2>/dev/null; }; then
	echo "make deps: please install ${missing[*]}: here is no apt-get, or no right to use it" >&2
	exit 0
fi

# A package must not start its service: the tests start their own, on ports of their own.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
	trap '"${as_root[@]}" rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
	"${as_root[@]}" chmod 755 "$policy"
fi

install() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}
echo "make deps: installing ${missing[*]}"
if ! install 2>/dev/null; then
	{ "${as_root[@]}" apt-get update -qq && install; } ||
		echo "make deps: apt-get could not install ${missing[*]}: please install it by hand" >&2
fi
