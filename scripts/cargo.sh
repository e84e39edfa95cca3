#!/bin/bash
# Calls cargo: the one in PATH if it is new enough for this workspace, else Debian's.
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
for cargo in cargo /usr/bin/cargo; do
    found=$($cargo --version 2>/dev/null | cut -d' ' -f2) || continue
    if [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -1)" = "$wanted" ]; then
        # Debian's compiler and rustup's must not be mixed.
        [ $cargo = cargo ] || export PATH=/usr/bin:$PATH
        exec $cargo "$@"
    fi
done
echo "there is no cargo $wanted or later: run \`make deps\`" >&2
exit 1
