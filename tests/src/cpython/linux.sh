#!/bin/sh
# Runs a command on Linux in a root directory, as user 1000:1000, in a machine that is like a guest's: processes, network, host
# name and devices of its own, /tmp in memory. Usage: linux.sh ROOT COMMAND...; the user must be root.
set -eu
if [ "$$" != 1 ]; then
    exec unshare --mount --net --pid --uts --ipc --fork --propagation private "$0" "$@"
fi
root=$1
shift
hostname coracle
ip link set lo up
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    numbers=${node#*:}
    mknod -m 666 "$root/dev/${node%%:*}" c "${numbers%:*}" "${numbers#*:}"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for stream in stdin:0 stdout:1 stderr:2; do
    ln -s "/proc/self/fd/${stream#*:}" "$root/dev/${stream%%:*}"
done
for folder in dev/shm tmp var/tmp; do
    mount -t tmpfs -o mode=1777 tmpfs "$root/$folder"
done
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o uid=1000,gid=1000,mode=755 tmpfs "$root/home/user"
# Signals that the caller ignores would stay ignored.
exec env --default-signal chroot --userspec=1000:1000 --groups= "$root" "$@"
