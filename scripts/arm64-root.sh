#!/bin/bash
# Makes a directory tree with Debian's arm64 programs, for `--root`: `arm64-root.sh DIR PACKAGE... [--alone PACKAGE...]`. The packages, and what the
# first of them depend on, are fetched from where this machine's own come from, without changing its package system, and are unpacked, not configured.
set -euo pipefail
all=$*
dir=$(realpath -m "$1")
shift
if [ "$(cat "$dir.packages" 2>/dev/null)" = "${all#* }" ]; then
    exit 0
fi
apt=$(mktemp -d)
trap 'rm -rf "$apt"' EXIT
mkdir -p "$apt"/state/lists/partial "$apt"/cache/archives/partial
: >"$apt/status"
cat >"$apt/conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "";
Dir::State "$apt/state";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
END
export APT_CONFIG=$apt/conf
apt-get update -qq
packages=()
while [ $# -gt 0 ] && [ "$1" != --alone ]; do
    packages+=("$1")
    shift
done
apt-get install -qq --download-only --no-install-recommends "${packages[@]}" >/dev/null
if [ $# -gt 1 ]; then
    (cd "$apt/cache/archives" && apt-get download -qq "${@:2}")
fi
rm -rf "$dir" "$dir.packages"
mkdir -p "$dir"
for package in "$apt"/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$dir"
done
# What the packages' scripts would do: python3 starts in a tenth of the time with compiled modules.
for library in "$dir"/usr/lib/python3.[0-9]*; do
    python=$(basename "$library")
    if command -v "$python" >/dev/null; then
        "$python" -m compileall -q "$library" -s "$dir" >/dev/null || true
    fi
done
echo "${all#* }" >"$dir.packages"
