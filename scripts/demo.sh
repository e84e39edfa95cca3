#!/bin/bash
# Boots Debian's memcached as a unikernel, talks to it over TCP, and tells how it went.
set -euo pipefail
cd "$(dirname "$0")/.."

MEMORY=64M
VALUE='hello from a coracle'
# How long the guest may take until it answers, in seconds: much more than it needs, on a slow machine.
PATIENCE=60

work=$(mktemp -d)
guest=
finish() {
    if [ -n "$guest" ]; then
        kill "$guest" 2>/dev/null || true
        wait "$guest" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT

say() { printf '%s\n' "$*"; }
fail() {
    say "demo: $*" >&2
    [ ! -s "$work/guest.log" ] || sed 's/^/  /' "$work/guest.log" >&2
    exit 1
}
# Milliseconds on a clock that does not jump.
now() { awk '{printf "%d", $1 * 1000}' /proc/uptime; }
# A memcached client of a few lines: sends what is on stdin, prints what comes until the server hangs up.
talk() { exec 3<>"/dev/tcp/127.0.0.1/$port" && { printf '%s\r\n' "$@" quit >&3 && timeout 10 cat <&3; exec 3>&-; }; }
answers() { (talk version | grep -q '^VERSION') 2>/dev/null; }

# A port that is free.
port=11211
while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done

coracle=target/release/coracle
say '1. Build: memcached, its libraries and the kernel in one file'
"$coracle" build memcached -o "$work/memcached.img" -- -m 32

say
say "2. Boot it, with $MEMORY of memory"
start=$(now)
"$coracle" run "$work/memcached.img" -m "$MEMORY" -p "127.0.0.1:$port:11211" </dev/null 2>"$work/guest.log" &
guest=$!
until answers; do
    kill -0 "$guest" 2>/dev/null || { guest=; fail 'the guest ended'; }
    [ $(($(now) - start)) -lt $((PATIENCE * 1000)) ] || fail 'the guest does not answer'
    sleep 0.02
done
booted=$(($(now) - start))
sed 's/^/   /' "$work/guest.log"

say
say '3. Set and get, over TCP'
reply=$(talk "set boat 0 0 ${#VALUE}" "$VALUE" 'get boat' | tr -d '\r')
say "${reply//$'\n'/$'\n'   }" | sed '1s/^/   /'
grep -qx STORED <<<"$reply" || fail 'the value was not stored'
grep -qx "$VALUE" <<<"$reply" || fail 'the value did not come back'
if command -v memccp >/dev/null; then
    printf '%s' "$VALUE" >"$work/file"
    memccp --servers="127.0.0.1:$port" "$work/file"
    [ "$(memccat --servers="127.0.0.1:$port" file)" = "$VALUE" ] || fail "libmemcached's client got something else"
    say "   libmemcached's memccp and memccat agree"
fi

# QEMU is the command's child.
resident() {
    local child
    read -r child _ <"/proc/$guest/task/$guest/children" && awk '/^VmRSS/ {printf "%.0f MiB", $2 / 1024}' "/proc/$child/status"
}
say
say "time until it answered   $booted ms"
say "memory of the guest      $MEMORY"
host_memory=$(resident 2>/dev/null) && [ -n "$host_memory" ] && say "memory of QEMU, in all   $host_memory"
say "size of the image        $(du -h --apparent-size "$work/memcached.img" | cut -f1)"
