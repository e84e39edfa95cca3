#!/bin/bash
# Boots the hardware layer's own test kernel (hal/selftest) on each machine, in both rings, on one and two CPUs, and on CPUs
# that lack something.
set -uo pipefail
cd "$(dirname "$0")/.."

kernel=$(scripts/guest-build.sh coracle-hal-selftest x86_64-unknown-none) || exit 1

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

# aarch64: QEMU's machine has no device that sets its status, so the last line of the output counts.
image=$(mktemp)
trap 'rm -f "$log" "$image"' EXIT
kernel=$(scripts/guest-build.sh coracle-hal-selftest aarch64-unknown-none-softfloat) || exit 1
# The loader wants what lies in memory, from the header of a Linux image on.
objcopy -I elf64-little -O binary "$kernel" "$image" || exit 1

# Boots once: options of the machine, the CPU, the ring, the number of CPUs.
boot_aarch64() {
    local machine=$1 cpu=$2 ring=$3 cpus=$4
    timeout 120 qemu-system-aarch64 -machine "$machine" -accel tcg -cpu "$cpu" -nodefaults -no-user-config -no-reboot \
        -display none -serial stdio -m 64M -smp "$cpus" -kernel "$image" -append "$ring" </dev/null >"$log" 2>&1
    if [ "$(tail -n 1 "$log")" = 'all passed' ]; then
        echo "ok   aarch64 $machine, CPU $cpu, $ring, $cpus CPUs"
    else
        failed=$((failed + 1))
        echo "FAIL aarch64 $machine, CPU $cpu, $ring, $cpus CPUs:"
        cat "$log"
    fi
}

for ring in unikernel protected; do
    for cpus in 1 2; do
        boot_aarch64 virt,gic-version=2 max "$ring" "$cpus"
        boot_aarch64 virt,gic-version=3 max "$ring" "$cpus"
    done
    # From EL2, with the firmware called by `smc`; and a CPU without PAN, CRC-32 and RNDR.
    boot_aarch64 virt,virtualization=on,gic-version=3 max "$ring" 2
    boot_aarch64 virt cortex-a53 "$ring" 2
done
[ "$failed" -eq 0 ]
