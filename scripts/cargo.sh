#!/bin/bash
# Calls cargo: the one in PATH if it is new enough for this workspace, else Debian's. `CARGO_OF=debian` takes Debian's.
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

new_enough() {
    local found
    found=$("$1" --version 2>/dev/null | cut -d' ' -f2) || return 1
    [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -1)" = "$wanted" ]
}

if [ "${CARGO_OF-}" != debian ] && new_enough cargo; then
    exec cargo "$@"
elif new_enough /usr/bin/cargo; then
    # Debian's tools and rustup's must not be mixed, and cargo looks for subcommands where rustup keeps its own first.
    export PATH=/usr/bin:$PATH
    [ ! -x "/usr/bin/cargo-$1" ] || exec "/usr/bin/cargo-$1" "$@"
    exec /usr/bin/cargo "$@"
fi
echo "there is no cargo $wanted or later: run \`make deps\`" >&2
exit 1
