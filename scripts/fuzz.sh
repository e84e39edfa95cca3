#!/bin/bash
# Fuzzes what parses foreign bytes: scripts/fuzz.sh [SECONDS [TARGET...]], one target after the other, all if none is named.
# Needs rustup's nightly toolchain and cargo-fuzz. What is found lies in fuzz/artifacts; what was learned, in fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."

# Longest input. What is fuzzed has tables of a few hundred bytes; longer inputs are only slower.
MAX_LEN=4096

seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || for file in fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done

cargo_fuzz() { rustup run nightly cargo fuzz "$1" --fuzz-dir fuzz --target-dir target/fuzz --features fuzzer "${@:2}"; }

cargo_fuzz build
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    folders=("fuzz/corpus/$target")
    [ ! -d "fuzz/seeds/$target" ] || folders+=("fuzz/seeds/$target")
    if cargo_fuzz run "$target" "${folders[@]}" -- -max_total_time="$seconds" -max_len=$MAX_LEN >"$log" 2>&1; then
        echo "ok   $target: $(grep -E '^Done ' "$log"), $(grep -oE 'cov: [0-9]+' "$log" | tail -1)"
    else
        failed=1
        echo "FAIL $target:"
        tail -60 "$log"
    fi
done
exit $failed
