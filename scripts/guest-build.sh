#!/bin/bash
# Builds a package of the guest for the bare machine, as the kernel is built, and prints the path of its file:
# `guest-build.sh PACKAGE TARGET`. The package's file has its name.
set -euo pipefail
cd "$(dirname "$0")/.."
package=$1 guest_target=$2
source scripts/guest-flags.sh
if [ "${CARGO_OF:-}" = debian ]; then
    linker=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$guest_target")_LINKER
    export "$linker=${!linker:-ld.lld}"
fi
target=$PWD/target/guest-build
scripts/cargo.sh build --locked --quiet --target-dir "$target" "${guest[@]}" --profile kernel --package "$package" >&2
echo "$target/$guest_target/kernel/$package"
