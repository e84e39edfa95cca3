#!/bin/bash
# Boots the hardware layer's own test kernel (hal/selftest) on each machine, in both rings, on one and two CPUs, and on CPUs
# that lack something.
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

# Boots once: the machine, the CPU, the ring, the number of CPUs.
boot() {
    local machine=$1 cpu=$2 ring=$3 cpus=$4 status
    timeout 120 qemu-system-x86_64 -machine "$machine" -accel tcg -cpu "$cpu" -nodefaults -no-user-config -no-reboot \
        -display none -serial stdio -device isa-debug-exit,iobase=0x501,iosize=4 -m 32M -smp "$cpus" \
        -kernel "$kernel" -append "$ring" </dev/null >"$log" 2>&1
    status=$?
    if [ "$status" -eq "$SUCCESS" ]; then
        echo "ok   ${machine%%,*}, CPU $cpu, $ring, $cpus CPUs"
    else
        failed=$((failed + 1))
        echo "FAIL ${machine%%,*}, CPU $cpu, $ring, $cpus CPUs (status $status):"
        cat "$log"
    fi
}

readonly MICROVM=microvm,acpi=off,rtc=on,pit=off,pic=off,isa-serial=on
for ring in unikernel protected; do
    for machine in "$MICROVM" q35 pc; do
        for cpus in 1 2; do
            boot "$machine" max "$ring" "$cpus"
        done
    done
    # CPUs that lack something, or hide how large it is: leaf 0xD, which says that of XSAVE's area.
    for cpu in max,-xsave max,level=12 max,-smap; do
        boot "$MICROVM" "$cpu" "$ring" 2
    done
done
[ "$failed" -eq 0 ]
