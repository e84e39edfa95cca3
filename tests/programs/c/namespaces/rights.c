// What the rights of a user namespace must not reach: mounts of other namespaces, what mounts have covered, users who are not mapped, and
// trees that would be in themselves.
#include "t.h"
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>

int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);
enum { BIND = 4096, REMOUNT = 32, RECURSIVE = 16384, PRIVATE = 1 << 18, DETACH = 2 };

static int put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    NEED(fd >= 0);
    ssize_t n = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return n < 0 ? -1 : 0;
}
static int put_of(pid_t pid, const char *name, const char *text) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return put(path, text);
}
static void become(int id) {
    NEED(setgid(id) == 0 && setuid(id) == 0);
    // Files of /proc belong to root else.
    NEED(prctl(PR_SET_DUMPABLE, 1) == 0);
}
// A user's own namespaces of users and mounts.
static void enter(void) {
    become(1000);
    NEED(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && put("/proc/self/setgroups", "deny") == 0);
    NEED(put("/proc/self/uid_map", "0 1000 1\n") == 0 && put("/proc/self/gid_map", "0 1000 1\n") == 0);
    NEED(mount(NULL, "/", NULL, RECURSIVE | PRIVATE, NULL) == 0);
}
static void part(const char *what, void (*run)(void)) {
    printf("-- %s\n", what);
    fflush(stdout);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        run();
        fflush(stdout);
        _exit(t_failures != 0);
    }
    int status;
    NEED(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}
static int attributes(int directory, uint64_t set, uint64_t clear) {
    struct mount_attr attr = {set, clear, 0, 0};
    return syscall(SYS_mount_setattr, directory, "", AT_EMPTY_PATH, &attr, sizeof attr);
}

// A descriptor from before leads to the mount of the namespace before.
static void flags_outside(void) {
    int outside = open("ro", O_PATH | O_DIRECTORY);
    NEED(outside >= 0);
    enter();
    SHOW(attributes(outside, 0, MOUNT_ATTR_RDONLY));
    SHOW(attributes(outside, MOUNT_ATTR_NOEXEC, 0));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", outside);
    SHOW(mount(NULL, path, NULL, BIND | REMOUNT, NULL));
    SHOW(mount("none", path, "tmpfs", 0, NULL));
    SHOW(syscall(SYS_open_tree, outside, "", AT_EMPTY_PATH | 1));
}
// Nor do times of access change that came from outside.
static void times_of_access(void) {
    enter();
    SHOW(mount(NULL, "over/hidden", NULL, BIND | REMOUNT | 1024, NULL));
    SHOW(mount(NULL, "over/hidden", NULL, BIND | REMOUNT | (1 << 24), NULL));
    SHOW(mount(NULL, "over/hidden", NULL, BIND | REMOUNT | 8, NULL));
    SHOW(mount("none", "a", "tmpfs", 0, NULL));
    SHOW(mount(NULL, "a", NULL, BIND | REMOUNT | 1024, NULL));
}
// Who has rights in the namespace may filter calls without PR_SET_NO_NEW_PRIVS.
static void filters(void) {
    struct sock_filter code = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {1, &code};
    become(1000);
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    NEED(unshare(CLONE_NEWUSER) == 0);
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}
static void what_is_covered(void) {
    enter();
    SHOW(umount2("over/hidden", 0));
    SHOW(umount2("over/hidden", DETACH));
    SHOW(mount("over", "a", NULL, BIND, NULL));
    SHOW(access("a/hidden/secret", F_OK));
    SHOW(syscall(SYS_open_tree, AT_FDCWD, "over", 1));
    SHOW(mount("over", "a", NULL, BIND | RECURSIVE, NULL));
    SHOW(umount2("a/hidden", DETACH));
    SHOW(access("a/hidden/secret", F_OK));
    // The mount of one's own goes, with what is in it.
    SHOW(umount2("a", DETACH));
    // A directory beside the covered one may be shown.
    SHOW(mount("over/beside", "a", NULL, BIND, NULL));
    SHOW(umount2("a", 0));
}
// In one more namespace of mounts, with the same rights.
static void what_was_covered_before(void) {
    enter();
    SHOW(unshare(CLONE_NEWNS));
    SHOW(umount2("over/hidden", DETACH));
    SHOW(access("over/hidden/secret", F_OK));
}
// Options name users as the namespace has them.
static void users_of_options(void) {
    struct stat st;
    enter();
    SHOW(mount("none", "a", "tmpfs", 0, "uid=0,gid=0,mode=0700"));
    SHOW(stat("a", &st) == 0 && st.st_uid == 0 && st.st_gid == 0);
    SHOW(mkdir("a/in", 0755));
    SHOW(mount("none", "b", "tmpfs", 0, "uid=5"));
    SHOW(mount("none", "b", "tmpfs", 0, "gid=5"));
    SHOW(mount("none", "b", "devpts", 0, "newinstance,gid=5"));
    SHOW(mount("none", "b", "devpts", 0, "newinstance,gid=0,mode=620,ptmxmode=666"));
}
static void in_itself(void) {
    char text[PATH_MAX];
    enter();
    int proc = open("/proc/self", O_PATH | O_DIRECTORY);
    NEED(proc >= 0 && mount("none", "a", "tmpfs", 0, NULL) == 0 && chdir("a") == 0);
    NEED(mkdir("in", 0755) == 0 && mkdir("old", 0755) == 0 && mount("none", "in", "tmpfs", 0, NULL) == 0);
    int above = open(".", O_PATH | O_DIRECTORY);
    NEED(chroot("in") == 0 && fchdir(above) == 0);
    // The new root is above the old one.
    SHOW(syscall(SYS_pivot_root, ".", "old"));
    SHOW(readlinkat(proc, "cwd", text, sizeof text) > 0);
    SHOW(mount(".", "in", NULL, 8192, NULL));
    SHOW(mount(".", "old", NULL, 8192, NULL));
}
static void in_what_is_gone(void) {
    enter();
    NEED(mount("none", "a", "tmpfs", 0, NULL) == 0 && chdir("a") == 0 && mkdir("in", 0755) == 0);
    NEED(umount2("../a", DETACH) == 0);
    SHOW(mount("none", "in", "tmpfs", 0, NULL));
    SHOW(mount("../b", "in", NULL, BIND, NULL));
    SHOW(syscall(SYS_pivot_root, ".", "in"));
}
static void gaps(void) {
    int ready[2], go[2];
    char byte;
    NEED(pipe(ready) == 0 && pipe(go) == 0);
    pid_t child = fork();
    if (child == 0) {
        become(1000);
        NEED(unshare(CLONE_NEWUSER) == 0 && write(ready[1], "", 1) == 1 && read(go[0], &byte, 1) == 1);
        NEED(setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0);
        prctl(PR_SET_DUMPABLE, 1);
        pid_t inner = fork();
        if (inner == 0) {
            NEED(unshare(CLONE_NEWUSER) == 0 && write(ready[1], "", 1) == 1 && read(go[0], &byte, 1) == 1);
            SHOW(setresuid(1, 1, 1));
            fflush(stdout);
            _exit(0);
        }
        NEED(read(ready[0], &byte, 1) == 1);
        SHOW(put_of(inner, "uid_map", "0 0 3\n"));
        SHOW(put_of(inner, "uid_map", "0 2 2\n"));
        SHOW(put_of(inner, "uid_map", "0 0 1\n3 2 1\n"));
        fflush(stdout);
        NEED(write(go[1], "", 1) == 1 && waitpid(inner, NULL, 0) == inner);
        _exit(0);
    }
    NEED(read(ready[0], &byte, 1) == 1);
    SHOW(put_of(child, "gid_map", "0 1000 1\n"));
    SHOW(put_of(child, "uid_map", "0 1000 1\n2 1002 1\n"));
    fflush(stdout);
    NEED(write(go[1], "", 1) == 1 && waitpid(child, NULL, 0) == child);
}

int main(void) {
    enter_scratch();
    NEED(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, RECURSIVE | PRIVATE, NULL) == 0);
    NEED(chmod(".", 0755) == 0 && mkdir("ro", 0777) == 0 && mkdir("a", 0777) == 0 && mkdir("b", 0777) == 0);
    NEED(mkdir("over", 0755) == 0 && mkdir("over/hidden", 0755) == 0 && mkdir("over/beside", 0755) == 0);
    close(open("over/hidden/secret", O_CREAT | O_WRONLY, 0644));
    NEED(mount("none", "over/hidden", "tmpfs", 0, NULL) == 0);
    NEED(mount("ro", "ro", NULL, BIND, NULL) == 0 && mount(NULL, "ro", NULL, BIND | REMOUNT | 1, NULL) == 0);
    part("flags of mounts outside", flags_outside);
    SHOW(mkdir("ro/new", 0755));
    part("times of access", times_of_access);
    part("filters", filters);
    part("what is covered", what_is_covered);
    part("what was covered before", what_was_covered_before);
    part("users of options", users_of_options);
    part("mounts in themselves", in_itself);
    part("mounts in what is gone", in_what_is_gone);
    part("gaps", gaps);
    DONE();
}
