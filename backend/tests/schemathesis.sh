#!/usr/bin/env bash
# Lets schemathesis loose on a running task service, with every check it has.
# Needs: pip install schemathesis; the binary as $1, or "${CARGO_TARGET_DIR:-target}"/debug/task-service.
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=${1:-${CARGO_TARGET_DIR:-target}/debug/task-service}
tool=${SCHEMATHESIS:-schemathesis}
command -v "$tool" >/dev/null || { echo "schemathesis is missing: pip install schemathesis, or name it in SCHEMATHESIS" >&2; exit 69; }

folder=$(mktemp -d)
"$binary" --listen 127.0.0.1:0 --database "$folder/tasks.db" --log-format json 2>"$folder/log" &
service=$!
trap 'kill $service 2>/dev/null; wait $service; rm -rf "$folder"' EXIT
until address=$(grep -o '"address":"[^"]*"' "$folder/log" | cut -d'"' -f4) && [ -n "$address" ]; do
    kill -0 $service || { cat "$folder/log"; exit 1; }
    sleep 0.05
done

"$tool" --config-file backend/tests/schemathesis.toml run "http://$address/openapi.json" \
    --checks all --max-examples "${EXAMPLES:-50}" --generation-database=none --seed 1
