#!/usr/bin/env bash
# stage.sh <name> <budget in seconds> <command...>: runs the command, says how long it took, and fails when that was
# more than its budget. The lines also go to the file named by STAGES, where that is set.
set -euo pipefail
name=$1 budget=$2
shift 2

began=$SECONDS
verdict=ok
"$@" || verdict="failed ($?)"
took=$((SECONDS - began))
if [[ $verdict == ok ]] && ((took > budget)); then
	verdict="over budget"
fi
line=$(printf '== stage %-5s %5d s of %5d s: %s' "$name" "$took" "$budget" "$verdict")
echo "$line"
if [[ -n ${STAGES:-} ]]; then
	echo "$line" >>"$STAGES"
fi
[[ $verdict == ok ]]
