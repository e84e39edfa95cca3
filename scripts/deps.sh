#!/bin/bash
# Installs what building, testing and the demo need, on Debian 12. Only what is missing; asks nothing.
# `deps.sh vhost` builds the programs that serve devices for tests (`tests/tests/vsock.rs`, `tests/tests/shares.rs`), in target/vhost. `deps.sh build` leaves out what only tests and measurements need, a third of it.
set -euo pipefail
cd "$(dirname "$0")/.."

# A command that tells whether its package is there, and the package: for building, the demo and the commands of the README.
BUILD="
qemu-system-x86_64 qemu-system-x86
gcc gcc
make make
memcached memcached
memccat libmemcached-tools
redis-server redis-server
redis-benchmark redis-tools
/etc/ssl/certs/ca-certificates.crt ca-certificates
/usr/include/x86_64-linux-gnu/sys/types.h libc6-dev
"
# The same, for tests and measurements.
TEST="
nginx nginx-light
wrk wrk
curl curl
netstat net-tools
sqlite3 sqlite3
openssl openssl
ssh openssh-client
sshd openssh-server
busybox busybox-static
musl-gcc musl-tools
go golang-go
ip iproute2
ping iputils-ping
g++ g++
iperf3 iperf3
fio fio
tcpdump tcpdump
tshark tshark
stress-ng stress-ng
mkfs.ext4 e2fsprogs
sfdisk fdisk
/usr/bin/python3 python3
rsyslogd rsyslog
logger bsdutils
prometheus prometheus
tmux tmux
qemu-system-aarch64 qemu-system-arm
aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
aarch64-linux-gnu-g++ g++-aarch64-linux-gnu
/usr/aarch64-linux-gnu/lib/libc.a libc6-dev-arm64-cross
objcopy binutils
groff groff-base
gdb gdb
gdbserver gdbserver
strace strace
bwrap bubblewrap
"
case ${1-all} in
build) needed=$BUILD test= ;;
all) needed=$BUILD$TEST test=1 ;;
vhost)
    # What virtiofsd links.
    libraries=()
    for library in libseccomp-dev libcap-ng-dev; do
        dpkg -s $library >/dev/null 2>&1 || libraries+=($library)
    done
    if [ ${#libraries[@]} -gt 0 ]; then
        become=()
        [ "$(id -u)" -eq 0 ] || become=(sudo)
        "${become[@]}" apt-get -q update
        "${become[@]}" apt-get -q -y install --no-install-recommends "${libraries[@]}"
    fi
    exec cargo install --locked --root "${CARGO_TARGET_DIR:-target}/vhost" --target-dir "${CARGO_TARGET_DIR:-target}/vhost/target" \
        vhost-device-vsock@0.3.0 virtiofsd@1.14.0
    ;;
*) echo 'usage: deps.sh [build|vhost]' >&2; exit 2 ;;
esac

say() { echo "deps: $*" >&2; }

is_there() {
    case $1 in
    /*) [ -e "$1" ] ;;
    *) command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] ;;
    esac
}

missing=()
while read -r probe package; do
    [ -n "$probe" ] || continue
    is_there "$probe" || missing+=("$package")
done <<<"$needed"

# Rust: the one that is here if it is new enough, else Debian's packages of it.
rust_version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
new_enough() {
    local found
    found=$("$1" --version 2>/dev/null | cut -d' ' -f2) || return 1
    [ "$(printf '%s\n' "$rust_version" "$found" | sort -V | head -1)" = "$rust_version" ]
}
if new_enough cargo; then
    # rustup's: the target by rustup; where it cannot be fetched, Debian's compiler builds the kernel.
    if command -v rustup >/dev/null; then
        # Tests boot the hardware layer on aarch64, too.
        for target in x86_64-unknown-none ${test:+aarch64-unknown-none-softfloat}; do
            if ! ls "$(rustc --print target-libdir --target "$target")"/libcore-* >/dev/null 2>&1 &&
                ! rustup target add "$target" >/dev/null 2>&1; then
                say "rustup cannot fetch $target: Debian's compiler will build for it"
                kernel_by_debian=1
            fi
        done
        # Test programs in Rust; where it can't be fetched, they are not booted on aarch64.
        [ -z "$test" ] || rustup target add aarch64-unknown-linux-gnu >/dev/null 2>&1 || true
        { cargo clippy --version && cargo fmt --version; } >/dev/null 2>&1 ||
            rustup component add clippy rustfmt >/dev/null 2>&1 || true
    else
        kernel_by_debian=1
    fi
else
    say "no cargo $rust_version or later: taking Debian's cargo-web"
    kernel_by_debian=1
fi
if [ -n "${kernel_by_debian-}" ]; then
    new_enough /usr/bin/cargo || missing+=(cargo-web rustc-web)
    if [ -n "$test" ]; then
        [ -x /usr/bin/cargo-clippy ] || missing+=(rust-web-clippy)
        [ -x /usr/bin/cargo-fmt ] || command -v cargo-fmt >/dev/null || missing+=(rustfmt-web)
    fi
    sysroot=$(/usr/bin/rustc --print sysroot 2>/dev/null || echo /usr)
    [ -e "$sysroot/lib/rustlib/src/rust/library/core" ] || missing+=(rust-web-src)
    [ -e "$sysroot/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld" ] || is_there ld.lld || missing+=(lld)
fi

if [ ${#missing[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        say "this is not Debian: install what corresponds to ${missing[*]}"
        exit 1
    fi
    become=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { say "run this as root to install ${missing[*]}"; exit 1; }
        become=(sudo)
    fi
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # Packages that are servers must not start serving.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | "${become[@]}" tee $policy >/dev/null
        "${become[@]}" chmod 755 $policy
        trap '"${become[@]}" rm -f $policy' EXIT
    fi
    apt_get() {
        "${become[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1 ||
            { cat "$log" >&2; return 1; }
    }
    log=$(mktemp)
    apt_get update
    apt_get install --no-install-recommends "${missing[@]}"
    rm -f "$log"
fi
say "everything is there"
