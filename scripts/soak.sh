#!/bin/bash
# The soak: everything that once stopped a guest or could, in a loop, both modes, 1 and 2 CPUs, with the host busy, until DURATION
# seconds (3600) are over. `make test-soak` calls this. Networks are namespaces with tap devices of their own.
# Ends with one line of counts; the exit status is that of the whole.
set -uo pipefail
cd "$(dirname "$0")/.."
cargo=$PWD/scripts/cargo.sh

DURATION=${DURATION:-3600}
# How long one part of a round takes, about; a part that began is allowed to end.
FUZZ_SECONDS=240
CHURN_SECONDS=20
# How often a round boots each of the programs that once stopped a guest.
RUNS=16
# A part that takes longer hangs.
PART_LIMIT=1500
# Families of boot tests that make and end processes, and that use up memory.
STORMS=(process:: threads:: stress_ng:: memory:: signals:: crash::)

start=$SECONDS
rounds=0
parts=0
failures=0
programs=0
answers=0
boots=0
busy=()
log=$(mktemp)
out=target/soak
mkdir -p "$out"
# Only what was started here is ended.
trap 'rm -f "$log"; for pid in "${busy[@]}"; do kill "$pid" 2>/dev/null; done' EXIT

left() { echo $((DURATION - (SECONDS - start))); }
over() { [ "$(left)" -le 0 ]; }
numbers() { grep -oE "$1" "$log" | grep -oE '[0-9]+' | awk '{n += $1} END {print n + 0}'; }

# Runs one part; its output is kept if it fails.
part() {
    local name=$1 status
    shift
    : >"$log"
    over && return
    timeout --kill-after=30 "$PART_LIMIT" "$@" >"$log" 2>&1
    status=$?
    parts=$((parts + 1))
    if [ "$status" -ne 0 ]; then
        failures=$((failures + 1))
        cp "$log" "$out/failure-$failures.log"
        echo "FAILED ($status) $name, round $rounds: $out/failure-$failures.log"
    fi
    echo "$((SECONDS - start)) s: $name done"
}

"$cargo" build --locked --release --package coracle --package coracle-fuzz-syscalls || exit 1
"$cargo" test --locked --release --package coracle-tests --no-run || exit 1
export CORACLE=$PWD/target/release/coracle

# The host is busy throughout. The programs of the soak bring their own.
for _ in $(seq "$(nproc)"); do
    nice -n 5 bash -c 'while :; do :; done' &
    busy+=($!)
done

while ! over; do
    rounds=$((rounds + 1))
    part 'programs that once stopped a guest' env CORACLE_SOAK_RUNS=$RUNS CORACLE_SOAK_BUSY=0 \
        "$cargo" test --locked --release --package coracle-tests --test soak -- --ignored
    boots=$((boots + $(numbers '[0-9]+ runs, ')))
    fuzz=$(left)
    [ "$fuzz" -gt "$FUZZ_SECONDS" ] && fuzz=$FUZZ_SECONDS
    part 'the fuzzer of system calls' target/release/coracle-fuzz-syscalls --seconds "$fuzz" --seed "$((rounds * 1000 + RANDOM % 1000))" \
        --findings "$out/findings"
    programs=$((programs + $(tail -1 "$log" | grep -oE '^[0-9]+' || echo 0)))
    part 'servers under clients that come, go, stall and die' env CORACLE_CHURN_SECONDS=$CHURN_SECONDS \
        "$cargo" test --locked --release --package coracle-tests --test apps -- --ignored --test-threads 2 churn::
    answers=$((answers + $(numbers '[0-9]+ answers')))
    for storm in "${STORMS[@]}"; do
        part "boot tests $storm" env CORACLE_TEST_MATRIX=full \
            "$cargo" test --locked --release --package coracle-tests --test boot -- --test-threads 3 "$storm"
        boots=$((boots + $(numbers '[0-9]+ passed')))
    done
done

echo "soak: $((SECONDS - start)) s, $rounds rounds, $parts parts, $boots boots of test programs, $programs programs of the fuzzer," \
    "$answers answers of servers, $failures failed"
[ "$failures" -eq 0 ]
