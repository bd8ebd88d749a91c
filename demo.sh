#!/usr/bin/env bash
# A guarded petstore on a real Envoy, in the foreground: `make demo`.
set -euo pipefail
gateway=$(realpath "${1:?usage: demo.sh <micro-gw>}")
root=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
pids=()
cleanup() { for pid in "${pids[@]:-}"; do [ -n "$pid" ] && kill "$pid" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cd "$work"
"$gateway" demo-backend >backend.log & pids+=($!)
"$gateway" init petstore -a "$root/examples/petstore/swagger.json"
"$gateway" build petstore
"$gateway" run petstore/target/petstore.mgw --gateway.dataDir="$work/data" >live.log & pids+=($!)
run=$!
until [ -s live.log ]; do kill -0 "$run" 2>/dev/null || { echo "the gateway ended" >&2; exit 1; }; sleep 0.1; done
cat live.log
key=$(curl -fsk "https://localhost:9095/apikey" -H "Authorization:Basic YWRtaW46YWRtaW4=")
cat <<TRY

Try, in another terminal:

  curl -k "https://localhost:9095/v2/pet/1" -H "accept: application/json" -H "api_key:$key"
  curl -k "https://localhost:9095/v2/pet/1"
  curl -s http://127.0.0.1:9000/status

Ctrl-C stops everything.
TRY
wait "$run"
