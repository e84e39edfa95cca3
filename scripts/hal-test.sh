#!/bin/bash
# Boots the hardware layer's own test kernel (hal/selftest) on each machine, in both rings, on one and two CPUs.
set -uo pipefail
cd "$(dirname "$0")/.."
source scripts/guest-flags.sh
if [ "${CARGO_OF:-}" = debian ]; then
    export CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER=${CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER:-ld.lld}
fi
target=target/hal-selftest
scripts/cargo.sh build --locked --quiet --target-dir "$target" "${guest[@]}" --profile kernel \
    --package coracle-hal-selftest || exit 1
kernel=$target/x86_64-unknown-none/kernel/coracle-hal-selftest

# isa-debug-exit makes QEMU's status (value << 1) | 1: 1 is success.
readonly SUCCESS=1
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for machine in microvm,acpi=off,rtc=on,pit=off,pic=off,isa-serial=on q35 pc; do
    for ring in unikernel protected; do
        for cpus in 1 2; do
            timeout 120 qemu-system-x86_64 -machine "$machine" -accel tcg -cpu max -nodefaults -no-user-config -no-reboot \
                -display none -serial stdio -device isa-debug-exit,iobase=0x501,iosize=4 -m 32M -smp "$cpus" \
                -kernel "$kernel" -append "$ring" </dev/null >"$log" 2>&1
            status=$?
            if [ "$status" -eq "$SUCCESS" ]; then
                echo "ok   ${machine%%,*}, $ring, $cpus CPUs"
            else
                failed=$((failed + 1))
                echo "FAIL ${machine%%,*}, $ring, $cpus CPUs (status $status):"
                cat "$log"
            fi
        done
    done
done
[ "$failed" -eq 0 ]
