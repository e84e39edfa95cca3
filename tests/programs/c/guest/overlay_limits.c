// What is no layer of an overlay here, and whose files are not copied up (Linux's ovl_copy_up: EOVERFLOW for an owner that the namespace of the mount
// does not know). Linux takes overlays and /proc as layers.
// linux: no
// flags: -D_GNU_SOURCE
// stdout-has: none of them
#include "t.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    NEED(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

int main(void) {
    enter_scratch();
    NEED(chmod(".", 0755) == 0);
    const char *names[] = {"low", "up", "work", "m", "other"};
    for (int i = 0; i < 5; i++) NEED(mkdir(names[i], 0755) == 0);
    put("low/of_root", "content");
    // The image's own files are in memory: these are, too.
    NEED(mount("overlay", "m", "overlay", 0, "lowerdir=low,upperdir=up,workdir=work") == 0);
    CHECK(mount("overlay", "other", "overlay", 0, "lowerdir=m:low") == -1 && errno == EINVAL);
    CHECK(mount("overlay", "other", "overlay", 0, "lowerdir=/proc:low") == -1 && errno == EINVAL);
    CHECK(rename("m/of_root", "m/renamed") == 0 && access("up/renamed", F_OK) == 0);
    NEED(umount("m") == 0);
    for (int i = 0; i < 5; i++) NEED(chown(names[i], 1000, 1000) == 0);
    NEED(rename("up/renamed", "low/other_of_root") == 0);
    pid_t child = fork();
    if (child == 0) {
        NEED(setresgid(1000, 1000, 1000) == 0 && setresuid(1000, 1000, 1000) == 0);
        NEED(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0);
        put("/proc/self/setgroups", "deny");
        put("/proc/self/uid_map", "0 1000 1");
        put("/proc/self/gid_map", "0 1000 1");
        NEED(mount("overlay", "m", "overlay", 0, "lowerdir=low,upperdir=up,workdir=work,userxattr") == 0);
        put("m/own", "made by the user");
        CHECK(access("up/own", F_OK) == 0);
        CHECK(rename("m/other_of_root", "m/renamed") == -1 && errno == EOVERFLOW);
        CHECK(access("up/renamed", F_OK) == -1 && access("up/other_of_root", F_OK) == -1);
        _exit(0);
    }
    int status;
    NEED(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    puts("none of them");
}
