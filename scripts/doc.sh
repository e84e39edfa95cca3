#!/bin/bash
# Builds the documentation: the crates' by rustdoc, the book by mdbook where that is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
RUSTDOCFLAGS="-D warnings" scripts/cargo.sh doc --locked --workspace --no-deps --exclude coracle-kernel --exclude coracle-hal-selftest
echo "crates: target/doc/coracle_image/index.html"
if command -v mdbook >/dev/null; then
    mdbook build docs
    echo "book:   docs/book/index.html"
else
    echo "book:   docs/ (install mdbook to turn it into pages)"
fi
