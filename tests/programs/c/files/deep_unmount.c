// A file system with a directory tree of any depth goes away with umount(2), and mounts on mounts that only a working
// directory keeps.
// linux: no
// stdout-has: unmounted a deep tree
// stdout-has: left a chain of mounts
#include "t.h"
#include <sys/mount.h>

int main(void) {
    enum { DEPTH = 5000, MOUNTS = 300 };
    NEED(mkdir("/tmp/deep", 0700) == 0);
    NEED(mount("none", "/tmp/deep", "tmpfs", 0, NULL) == 0);
    NEED(chdir("/tmp/deep") == 0);
    for (int i = 0; i < DEPTH; i++)
        NEED(mkdir("d", 0700) == 0 && chdir("d") == 0);
    NEED(chdir("/") == 0);
    NEED(umount("/tmp/deep") == 0);
    puts("unmounted a deep tree");
    // Each lies on the one before.
    for (int i = 0; i < MOUNTS; i++)
        NEED(mount("none", "/tmp/deep", "tmpfs", 0, NULL) == 0);
    NEED(chdir("/tmp/deep") == 0);
    for (int i = 0; i < MOUNTS; i++)
        NEED(umount2("/tmp/deep", MNT_DETACH) == 0);
    NEED(chdir("/") == 0);
    puts("left a chain of mounts");
    DONE();
}
