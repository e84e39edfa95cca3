#!/bin/bash
# Everything that must hold, in the order in which failures are cheapest to find. `make test` and CI call this.
# Ends with one line `N passed, N failed` over all tests and checks; the exit status tells the same.
set -uo pipefail
cd "$(dirname "$0")/.."
cargo=$PWD/scripts/cargo.sh

# Enough to see that a fuzz target works and finds nothing at once; CONTRIBUTING.md says how to fuzz in earnest.
FUZZ_SECONDS=10

# The fuzzer of system calls: for how long, and where its chance starts. Both stay as they are, so that runs can be compared.
SYSCALL_FUZZ_SECONDS=150
SYSCALL_FUZZ_SEED=1

# What runs on the bare machine only.
guest_only=(--exclude coracle-kernel --exclude coracle-hal-selftest)

passed=0
failed=0
log=$(mktemp)
fuzz_log=$(mktemp)
programs_log=$(mktemp)
fuzzer=
trap 'rm -f "$log" "$fuzz_log" "$programs_log"; [ -z "$fuzzer" ] || kill "$fuzzer"' EXIT
# Each test adds its name and duration (tests/src/known.rs).
durations=target/coracle-tests/durations
rm -f "$durations"

# With the seconds since the start.
heading() { printf '\n== %s (at %d s)\n' "$*" "$SECONDS"; }

# A check without tests of its own: counts as one.
check() {
    local name=$1
    shift
    heading "$name"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
    fi
}

# A test runner: its own count is taken, from cargo test's or cargo nextest's summary.
tests() {
    local name=$1 status ok bad
    shift
    heading "$name"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    sed -i 's/\x1b\[[0-9;]*m//g' "$log"
    ok=$(grep -E '^test result:|^ *Summary ' "$log" | grep -oE '[0-9]+ passed' | awk '{n += $1} END {print n + 0}')
    bad=$(grep -E '^test result:|^ *Summary ' "$log" | grep -oE '[0-9]+ (failed|timed out)' | awk '{n += $1} END {print n + 0}')
    # A runner that could not even start tests is a failure, too.
    [ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
    [ "$status" -ne 0 ] && echo "FAILED: $name"
    passed=$((passed + ok))
    failed=$((failed + bad))
}

# The guest's packages, for the bare machine. With a target directory of its own: another compiler may do it.
lint_guest() (
    source scripts/guest-flags.sh
    packages=()
    for manifest in kernel/Cargo.toml hal/Cargo.toml hal/selftest/Cargo.toml crates/*/Cargo.toml; do
        packages+=(--package "$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -1)")
    done
    "$cargo" clippy --locked --target-dir target/guest-lint "${guest[@]}" "${packages[@]}" -- -D warnings
)

# What of the guest differs on aarch64.
lint_aarch64() (
    guest_target=aarch64-unknown-none-softfloat
    source scripts/guest-flags.sh
    "$cargo" clippy --locked --target-dir target/guest-lint "${guest[@]}" --package coracle-hal --package coracle-hal-selftest --package coracle-kernel -- -D warnings
)

# Everything that runs on this machine, tests included.
lint_host() {
    "$cargo" clippy --locked --workspace "${guest_only[@]}" --all-targets -- -D warnings
}

docs() {
    RUSTDOCFLAGS="-D warnings" "$cargo" doc --locked --workspace --no-deps "${guest_only[@]}"
}

host_tests() {
    local packages=(--workspace "${guest_only[@]}" --exclude coracle-tests)
    if "$cargo" nextest --version >/dev/null 2>&1; then
        "$cargo" nextest run --locked --no-fail-fast --status-level slow "${packages[@]}" && "$cargo" test --locked --doc "${packages[@]}"
    else
        "$cargo" test --locked --no-fail-fast "${packages[@]}"
    fi
}

# What boots guests. Many of the tests only wait, for a minute of cron or for a guest to be idle: the test programs run beside
# the other tests, and what they print follows when both are through.
boot_tests() {
    local status=0 programs file name others=()
    local test=("$cargo" test --locked --release --package coracle-tests --no-fail-fast)
    "${test[@]}" --no-run || return
    # Each file and directory there is a test, whatever its name.
    for file in tests/tests/*; do
        name=$(basename "$file" .rs)
        [ "$name" = boot ] || others+=(--test "$name")
    done
    "${test[@]}" --test boot >"$programs_log" 2>&1 &
    programs=$!
    "${test[@]}" --lib --bins "${others[@]}" || status=$?
    wait "$programs" || status=$?
    cat "$programs_log"
    return "$status"
}

# Says what Miri lacks here; nothing if it can run. It is part of rustup's nightly toolchain alone.
miri_lacks() {
    local sysroot
    if ! command -v rustup >/dev/null; then
        echo "it comes with rustup's nightly toolchain, and there is no rustup"
    elif ! rustup run nightly cargo miri --version >/dev/null 2>&1; then
        echo 'it is not installed: rustup component add --toolchain nightly miri rust-src'
    elif sysroot=$(rustup run nightly rustc --print sysroot) && [ ! -d "$sysroot/lib/rustlib/src/rust/library" ]; then
        echo "the library's source is not installed: rustup component add --toolchain nightly rust-src"
    fi
}

# The one crate of the guest with `unsafe`, on a machine of host memory. It makes pointers of numbers by trade: their
# provenance is what it exposed.
miri() {
    MIRIFLAGS=-Zmiri-permissive-provenance rustup run nightly cargo miri test --locked --target-dir target/miri --package coracle-hal --lib
}

check 'format' "$cargo" fmt --all --check
check 'lints of the host' lint_host
check 'lints of the guest' lint_guest
check 'lints of the guest for aarch64' lint_aarch64
check 'documentation' docs
if "$cargo" deny --version >/dev/null 2>&1; then
    check 'licences and sources' "$cargo" deny check licenses bans sources
    # What is known against the crates we use is fetched anew, which takes a network.
    if "$cargo" deny fetch db >/dev/null 2>&1; then
        check 'advisories' "$cargo" deny check advisories
    else
        heading 'advisories: skipped, the database of them cannot be fetched'
    fi
else
    heading 'licences, sources and advisories: skipped, cargo-deny is not installed'
fi
check 'the layers of the kernel' "$cargo" run --locked --quiet --package xtask -- layers --check docs/src/layers.svg
check 'the table of metrics in the book' "$cargo" run --locked --quiet --package xtask -- metrics --check docs/src/metrics.md
check 'the table of system calls in the book' "$cargo" run --locked --quiet --package xtask -- system-calls --check docs/src/system-calls.md
tests 'tests on the host' host_tests
lacking=$(miri_lacks)
if [ -z "$lacking" ]; then
    tests 'unsafe code under Miri' miri
else
    heading "unsafe code under Miri: skipped, $lacking"
fi
if rustup run nightly cargo fuzz --version >/dev/null 2>&1; then
    check "fuzzing, $FUZZ_SECONDS s each" scripts/fuzz.sh "$FUZZ_SECONDS"
else
    heading "fuzzing: skipped, cargo-fuzz is not installed for rustup's nightly toolchain; the property tests of the same laws ran above"
fi
check 'the hardware layer, booted alone' scripts/hal-test.sh
check 'the coracle command' "$cargo" build --locked --release
check 'where the kernel is interruptible' "$cargo" run --locked --quiet --package xtask -- interrupts
check 'what of the kernel allocates infallibly' "$cargo" run --locked --quiet --package xtask -- allocations
check 'how deep the calls of the kernel go' "$cargo" run --locked --quiet --package xtask -- stack
check 'what a call costs that is not traced' "$cargo" run --locked --quiet --package xtask -- call-path
check 'the fuzzer of system calls' "$cargo" build --locked --release --package coracle-fuzz-syscalls
# The fuzzer uses one CPU, and some tests only wait: side by side they take less time.
target/release/coracle-fuzz-syscalls --seconds "$SYSCALL_FUZZ_SECONDS" --seed "$SYSCALL_FUZZ_SEED" >"$fuzz_log" 2>&1 &
fuzzer=$!
tests 'boot tests' boot_tests
fuzzed() {
    wait "$fuzzer"
    local status=$?
    fuzzer=
    cat "$fuzz_log"
    return "$status"
}
check "fuzzing of system calls, $SYSCALL_FUZZ_SECONDS s, beside them" fuzzed
check 'instructions, against the record' "$cargo" run --locked --release --package coracle-bench -- --quick

heading 'the longest tests'
sort -rn "$durations" | head -n 25
heading 'all'
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
