// MS_REMOUNT: ro, noexec and nodev hold and show in /proc/mounts; a mount that is used is busy, and its directory is free
// again once it is gone. The values are Linux's, where this needs a mount namespace of its own to be run in.
// linux: no
// stdout-has: mounted, remounted, unmounted
#include "t.h"
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define FAILS(call, error) CHECK((errno = 0, (long)(call) == -1 && errno == (error)))

// Whether /proc/mounts has a line for `at` with these options.
static bool shows(const char *at, const char *options) {
    char text[8192], line[256];
    int fd = open("/proc/mounts", O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    close(fd);
    snprintf(line, sizeof line, " %s tmpfs %s", at, options);
    return strstr(text, line) != NULL;
}

static void read_only(void) {
    NEED(mkdir("m", 0755) == 0 && mount("t", "m", "tmpfs", 0, NULL) == 0);
    int fd = open("m/f", O_CREAT | O_RDWR, 0755);
    NEED(fd >= 0);
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    FAILS(mount("t", "m", "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), EBUSY);
    FAILS(umount("m"), EBUSY);
    close(fd);
    // The mapping keeps the file open.
    FAILS(mount("t", "m", "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), EBUSY);
    munmap(page, 4096);
    CHECK(mount("t", "m", "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) == 0);
    FAILS(open("m/g", O_CREAT | O_RDWR, 0644), EROFS);
    FAILS(open("m/f", O_WRONLY), EROFS);
    FAILS(unlink("m/f"), EROFS);
    FAILS(mkdir("m/d", 0755), EROFS);
    FAILS(rename("m/f", "m/g"), EROFS);
    FAILS(chmod("m/f", 0700), EROFS);
    FAILS(truncate("m/f", 1), EROFS);
    FAILS(access("m/f", W_OK), EROFS);
    CHECK(access("m/f", R_OK) == 0);
    struct statvfs about;
    CHECK(statvfs("m", &about) == 0 && about.f_flag & ST_RDONLY);
    fd = open("m/f", O_RDONLY);
    CHECK(fd >= 0);
    char again[64];
    snprintf(again, sizeof again, "/proc/self/fd/%d", fd);
    FAILS(open(again, O_WRONLY), EROFS);
    close(fd);
    CHECK(mount("t", "m", "tmpfs", MS_REMOUNT, NULL) == 0);
    CHECK((fd = open("m/g", O_CREAT | O_RDWR, 0644)) >= 0);
    close(fd);
    // What is not the root of a mount can't be mounted anew.
    NEED(mkdir("m/d", 0755) == 0);
    FAILS(mount("t", "m/d", "tmpfs", MS_REMOUNT, NULL), EINVAL);
    CHECK(umount("m") == 0);
    CHECK(rmdir("m") == 0);
}

static void no_exec(const char *at) {
    NEED(mkdir("m", 0755) == 0 && mount("t", "m", "tmpfs", MS_NOEXEC | MS_NOSUID, NULL) == 0);
    CHECK(shows(at, "rw,nosuid,noexec,relatime"));
    write_file("m/f", "#!/bin/sh\n");
    NEED(chmod("m/f", 0755) == 0);
    char *arguments[] = {"f", NULL};
    FAILS(execv("m/f", arguments), EACCES);
    int fd = open("m/f", O_RDONLY);
    FAILS((long)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0), EPERM);
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    NEED(page != MAP_FAILED);
    FAILS(mprotect(page, 4096, PROT_READ | PROT_EXEC), EACCES);
    munmap(page, 4096);
    close(fd);
    CHECK(mount("t", "m", "tmpfs", MS_REMOUNT | MS_NODEV, NULL) == 0);
    CHECK(shows(at, "rw,nodev,relatime"));
    NEED(mknod("m/null", S_IFCHR | 0666, makedev(1, 3)) == 0);
    FAILS(open("m/null", O_RDONLY), EACCES);
    CHECK(mount("t", "m", "tmpfs", MS_REMOUNT, NULL) == 0);
    fd = open("m/null", O_RDONLY);
    CHECK(fd >= 0);
    close(fd);
    CHECK(umount("m") == 0 && rmdir("m") == 0);
}

static void bound(const char *at) {
    NEED(mkdir("m", 0755) == 0 && mount("t", "m", "tmpfs", 0, NULL) == 0);
    NEED(mkdir("b", 0755) == 0 && mount("m", "b", NULL, MS_BIND | MS_RDONLY, NULL) == 0);
    // MS_BIND minds no other flag (mount(2)).
    int fd = open("b/f", O_CREAT | O_RDWR, 0644);
    CHECK(fd >= 0);
    // Read-only here, but not there.
    FAILS(mount(NULL, "b", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), EBUSY);
    close(fd);
    CHECK(mount(NULL, "b", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0);
    FAILS(open("b/f", O_RDWR), EROFS);
    CHECK((fd = open("m/f", O_RDWR)) >= 0);
    close(fd);
    // Read-only here and there.
    CHECK(mount(NULL, "b", NULL, MS_BIND | MS_REMOUNT, NULL) == 0);
    CHECK(mount(NULL, "b", NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
    FAILS(open("m/f", O_RDWR), EROFS);
    CHECK(shows(at, "ro"));
    CHECK(umount("b") == 0 && rmdir("b") == 0);
    CHECK(umount("m") == 0 && rmdir("m") == 0);
}

static void busy(void) {
    NEED(mkdir("m", 0755) == 0 && mount("t", "m", "tmpfs", 0, NULL) == 0);
    NEED(mkdir("m/d", 0755) == 0 && mount("t", "m/d", "tmpfs", 0, NULL) == 0);
    FAILS(umount("m"), EBUSY);
    FAILS(rmdir("m/d"), EBUSY);
    CHECK(umount("m/d") == 0 && rmdir("m/d") == 0);
    int ends[2];
    NEED(pipe(ends) == 0);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        NEED(chdir("m") == 0);
        NEED(write(ends[1], "x", 1) == 1);
        pause();
    }
    char byte;
    NEED(read(ends[0], &byte, 1) == 1);
    FAILS(umount("m"), EBUSY);
    kill(pid, SIGKILL);
    // It has ended, and keeps nothing busy though it has not been waited for.
    siginfo_t info;
    NEED(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0);
    CHECK(umount("m") == 0);
    NEED(waitpid(pid, NULL, 0) == pid);
    FAILS(umount("m"), EINVAL);
    FAILS(umount2("m", 0x100), EINVAL);
    // It goes at once, with what is in it, and is there for those that have it open.
    NEED(mount("t", "m", "tmpfs", 0, NULL) == 0);
    NEED(mkdir("m/d", 0755) == 0 && mount("t", "m/d", "tmpfs", 0, NULL) == 0);
    int fd = open("m/d/f", O_CREAT | O_RDWR, 0644);
    CHECK(umount2("m", MNT_DETACH) == 0);
    CHECK(write(fd, "x", 1) == 1);
    close(fd);
    CHECK(rmdir("m") == 0);
}

int main(void) {
    char at[PATH_MAX], other[PATH_MAX];
    enter_scratch();
    NEED(getcwd(at, sizeof at - 8) != NULL);
    strcpy(other, at);
    strcat(at, "/m");
    strcat(other, "/b");
    FAILS(mount("t", "nowhere", "tmpfs", 0, NULL), ENOENT);
    FAILS(mount("t", ".", "no-such-fs", 0, NULL), ENODEV);
    read_only();
    no_exec(at);
    bound(other);
    busy();
    NEED(setresuid(1000, 1000, 1000) == 0);
    FAILS(mount("t", "/tmp", "tmpfs", 0, NULL), EPERM);
    FAILS(umount("/tmp"), EPERM);
    puts("mounted, remounted, unmounted");
    DONE();
}
