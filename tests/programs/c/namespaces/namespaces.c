// unshare, setns and clone with namespaces of users, mounts, names and control groups: who sees what, who may do what, and what goes
// with a namespace.
#include "t.h"
#include <grp.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>

// Runs a part in a child, and prints how that ends.
#define IN_CHILD(what, ...)                                                                                      \
    do {                                                                                                         \
        printf("-- %s\n", what);                                                                                 \
        fflush(stdout);                                                                                          \
        pid_t child = fork();                                                                                    \
        NEED(child >= 0);                                                                                        \
        if (child == 0) {                                                                                        \
            __VA_ARGS__;                                                                                         \
            fflush(stdout);                                                                                      \
            _exit(t_failures != 0);                                                                              \
        }                                                                                                        \
        int status;                                                                                              \
        NEED(waitpid(child, &status, 0) == child);                                                               \
        CHECK(status == 0);                                                                                      \
    } while (0)

static int put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return n < 0 ? -1 : 0;
}
static ino_t link_of(const char *name) {
    char path[64], text[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/self/ns/%s", name);
    NEED(stat(path, &st) == 0);
    ssize_t n = readlink(path, text, sizeof text - 1);
    NEED(n > 0);
    text[n] = 0;
    ino_t number = strtoull(strchr(text, '[') + 1, NULL, 10);
    CHECK(number == st.st_ino);
    return number;
}
static void host(const char *what) {
    char name[65];
    gethostname(name, sizeof name);
    printf("%s: %s\n", what, !strcmp(name, "inner") ? name : "outer");
}
static unsigned long long effective(void) {
    char line[256];
    unsigned long long set = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, file))
        sscanf(line, "CapEff: %llx", &set);
    fclose(file);
    return set;
}
static void become(int id) {
    NEED(setgid(id) == 0 && setuid(id) == 0);
    // Files of /proc belong to root else.
    NEED(prctl(PR_SET_DUMPABLE, 1) == 0);
}
static void owner_of(const char *path) {
    struct stat st;
    if (stat(path, &st) == 0)
        printf("%s: %d %d\n", path, st.st_uid, st.st_gid);
    else
        printf("%s: %s\n", path, t_errno(errno));
}
// Options of the mount at a place in mountinfo: how many such, and the last one's.
static void options_of(const char *proc, const char *place) {
    char line[512], at[256], found[128], options[128] = "";
    int count = 0;
    FILE *file = fopen(proc, "r");
    NEED(file);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%*d %*d %*s %*s %255s %127s", at, found) == 2 && !strcmp(at, place)) {
            count++;
            strcpy(options, found);
        }
    }
    fclose(file);
    printf("mounts there: %d%s%s%s%s\n", count, count && strstr(options, "ro") == options ? " ro" : "",
           count && strstr(options, "nosuid") ? " nosuid" : "", count && strstr(options, "nodev") ? " nodev" : "",
           count && strstr(options, "noexec") ? " noexec" : "");
}

static void users(void) {
    IN_CHILD("users", ino_t before = link_of("user"); SHOW(unshare(CLONE_NEWUSER)); SHOW(link_of("user") != before);
             SHOW(getuid()); SHOW(getegid()); owner_of("/"); SHOW(effective() == effective() && effective() != 0); SHOW(setuid(0));
             SHOW(setgroups(0, NULL)); show_file("/proc/self/uid_map"); show_file("/proc/self/setgroups");
             SHOW(put("/proc/self/uid_map", "0 1")); SHOW(put("/proc/self/uid_map", "0 0 0\n")); SHOW(put("/proc/self/uid_map", "0 5 1\n"));
             SHOW(put("/proc/self/uid_map", "0 0 1\n0 1 1\n")); SHOW(put("/proc/self/gid_map", "7 0 1\n"));
             SHOW(put("/proc/self/setgroups", "deny")); SHOW(put("/proc/self/setgroups", "allow")); show_file("/proc/self/setgroups");
             SHOW(put("/proc/self/uid_map", "0 0 1\n")); SHOW(put("/proc/self/gid_map", "7 0 1\n")); SHOW(put("/proc/self/uid_map", "0 0 1\n"));
             show_file("/proc/self/uid_map"); show_file("/proc/self/gid_map"); SHOW(getuid()); SHOW(getgid()); owner_of("/");
             SHOW(setgroups(0, NULL)); SHOW(setuid(5)); SHOW(setgid(7)); SHOW(chown("x", 3, 7)); SHOW(chown("x", 0, 7)); owner_of("x");
             SHOW(sethostname("inner", 5)); SHOW(mount("none", "d", "tmpfs", 0, NULL)); SHOW(chmod("theirs", 0600)); SHOW(open("theirs", O_RDONLY));
             SHOW(mknod("node", S_IFCHR | 0600, 0x103)); SHOW(chroot(".")); SHOW(unshare(CLONE_NEWUSER)));
    // By one that has no rights.
    IN_CHILD("users of another", become(1000); SHOW(unshare(CLONE_NEWNS)); SHOW(unshare(CLONE_NEWUTS));
             SHOW(unshare(CLONE_NEWUSER | CLONE_NEWUTS)); SHOW(getuid()); SHOW(put("/proc/self/setgroups", "deny"));
             SHOW(put("/proc/self/uid_map", "0 1000 2\n")); SHOW(put("/proc/self/uid_map", "0 1000 1\n")); SHOW(put("/proc/self/gid_map", "0 1000 1\n"));
             SHOW(getuid()); SHOW(getgid()); owner_of("theirs"); SHOW(open("theirs", O_RDONLY)); SHOW(chmod("theirs", 0644)); SHOW(sethostname("inner", 5));
             host("own"); SHOW(setuid(1)));
    host("after");
    // The parent maps.
    int ready[2], go[2];
    char byte;
    NEED(pipe(ready) == 0 && pipe(go) == 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        NEED(unshare(CLONE_NEWUSER) == 0 && write(ready[1], "", 1) == 1 && read(go[0], &byte, 1) == 1);
        SHOW(getuid());
        SHOW(setresuid(0, 0, 0));
        SHOW(setgroups(1, (gid_t[]){20}));
        SHOW(getgroups(0, NULL));
        SHOW(setuid(10));
        SHOW(effective() == 0);
        show_file("/proc/self/uid_map");
        fflush(stdout);
        NEED(write(ready[1], "", 1) == 1 && read(go[0], &byte, 1) == 1);
        _exit(0);
    }
    char path[64], text[256];
    NEED(read(ready[0], &byte, 1) == 1);
    snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
    SHOW(put(path, "0 100000 1000\n5000 0 1\n"));
    snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
    SHOW(put(path, "0 100000 1000\n"));
    fflush(stdout);
    NEED(write(go[1], "", 1) == 1 && read(ready[0], &byte, 1) == 1);
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    while (fgets(text, sizeof text, file))
        if (!strncmp(text, "Uid:", 4))
            fputs(text, stdout);
    fclose(file);
    // Into it.
    IN_CHILD("into its namespace", snprintf(path, sizeof path, "/proc/%d/ns/user", pid); int fd = open(path, O_RDONLY); NEED(fd >= 0);
             SHOW(ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWUSER); SHOW(ioctl(fd, NS_GET_PARENT) >= 0); SHOW(setns(fd, CLONE_NEWNS));
             SHOW(setns(fd, CLONE_NEWUSER)); SHOW(getuid()); SHOW(setns(fd, 0)); SHOW(effective() != 0));
    NEED(write(go[1], "", 1) == 1);
    waitpid(pid, NULL, 0);
}

static void mounts(void) {
    char base[PATH_MAX], at[PATH_MAX + 16];
    NEED(getcwd(base, sizeof base));
    IN_CHILD("mounts", ino_t before = link_of("mnt"); SHOW(unshare(CLONE_NEWNS)); SHOW(link_of("mnt") != before);
             SHOW(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)); SHOW(mount("none", "d", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m"));
             write_file("d/file", "inside"); show_file("d/file");
             NEED(chdir("d") == 0 && mkdir("sub", 0755) == 0 && mkdir("old", 0755) == 0 && mkdir("here", 0755) == 0);
             SHOW(mount("none", "sub", "tmpfs", 0, NULL)); write_file("sub/deep", "deep");
             // Not below, then with all below it.
             SHOW(mount(".", "here", NULL, MS_BIND, NULL)); SHOW(access("here/sub/deep", F_OK)); SHOW(umount("here"));
             SHOW(mount("sub", "here", NULL, MS_BIND | MS_REC, NULL)); show_file("here/deep");
             SHOW(mount(NULL, "here", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOEXEC, NULL)); SHOW(open("here/new", O_CREAT | O_WRONLY, 0600));
             SHOW(open("sub/new", O_CREAT | O_WRONLY, 0600) >= 0); SHOW(mkdir("moved", 0755)); SHOW(mount("here", "moved", NULL, MS_MOVE, NULL));
             SHOW(access("here/deep", F_OK)); show_file("moved/deep"); SHOW(mount("here", "sub", NULL, MS_MOVE, NULL)); SHOW(mount(".", "sub", NULL, MS_MOVE, NULL));
             SHOW(mount("moved", "none", NULL, MS_BIND, NULL)); SHOW(umount("here"));
             // The tree turned round.
             SHOW(syscall(SYS_pivot_root, "/", "/")); SHOW(syscall(SYS_pivot_root, ".", "/")); SHOW(syscall(SYS_pivot_root, "old", "old"));
             SHOW(syscall(SYS_pivot_root, ".", "old")); SHOW(chdir("/")); show_file("/file"); show_file("/moved/deep"); options_of("/old/proc/self/mountinfo", "/moved"); options_of("/old/proc/self/mountinfo", "/");
             char path[PATH_MAX + 16]; snprintf(path, sizeof path, "/old%s/x", base); SHOW(access(path, F_OK)); SHOW(access("/old/proc/self/stat", F_OK));
             SHOW(umount("/old")); SHOW(umount2("/old", MNT_DETACH)); SHOW(access("/old/proc", F_OK)); SHOW(rmdir("/old")));
    SHOW(access("d/file", F_OK));
    SHOW(rmdir("e"));
    // As bubblewrap does it: the old root over the new one, and away.
    IN_CHILD("pivot in place", NEED(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0);
             NEED(mount("none", "d", "tmpfs", 0, NULL) == 0 && chdir("d") == 0); write_file("only", "this");
             SHOW(syscall(SYS_pivot_root, ".", ".")); SHOW(umount2(".", MNT_DETACH)); SHOW(chdir("/")); show_file("only"); SHOW(access("/proc", F_OK));
             SHOW(getcwd(at, sizeof at) != NULL); printf("at %s\n", at));
    // With the rights of a user namespace.
    IN_CHILD("mounts of users", NEED(mount("none", "d", "tmpfs", MS_RDONLY | MS_NOSUID, NULL) == 0); become(1000);
             SHOW(unshare(CLONE_NEWUSER | CLONE_NEWNS)); SHOW(put("/proc/self/setgroups", "deny")); SHOW(put("/proc/self/uid_map", "0 1000 1\n"));
             SHOW(put("/proc/self/gid_map", "0 1000 1\n")); SHOW(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
             SHOW(mount(NULL, "d", NULL, MS_BIND | MS_REMOUNT, NULL)); SHOW(mount(NULL, "d", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL));
             snprintf(at, sizeof at, "%s/d", base); options_of("/proc/self/mountinfo", at); SHOW(umount("d")); SHOW(mount("none", "/tmp", "tmpfs", 0, NULL)); write_file("/tmp/mine", "mine"); owner_of("/tmp/mine");
             SHOW(mount("none", "/tmp", "devtmpfs", 0, NULL)); SHOW(mount("/dev/null", "/tmp/mine", NULL, MS_BIND, NULL)); SHOW(access("/tmp/mine", R_OK)));
    SHOW(umount("d"));
    // Into the namespace of another.
    int ready[2], go[2];
    char byte, path[64];
    NEED(pipe(ready) == 0 && pipe(go) == 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        NEED(unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWCGROUP) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        NEED(mount("none", "d", "tmpfs", 0, NULL) == 0 && sethostname("inner", 5) == 0);
        write_file("d/file", "of the child");
        NEED(write(ready[1], "", 1) == 1 && read(go[0], &byte, 1) == 1);
        _exit(0);
    }
    NEED(read(ready[0], &byte, 1) == 1);
    host("ours");
    SHOW(access("d/file", F_OK));
    IN_CHILD("into its namespaces", ino_t own = link_of("mnt"); snprintf(path, sizeof path, "/proc/%d/ns/mnt", pid); int fd = open(path, O_RDONLY);
             SHOW(setns(fd, CLONE_NEWNS)); SHOW(link_of("mnt") != own); NEED(chdir(base) == 0); show_file("d/file"); host("still ours");
             int process = syscall(SYS_pidfd_open, pid, 0); SHOW(setns(process, 0)); SHOW(setns(process, CLONE_NEWUTS | CLONE_NEWCGROUP)); host("theirs");
             SHOW(setns(0, 0)); SHOW(setns(-1, 0)));
    NEED(write(go[1], "", 1) == 1);
    waitpid(pid, NULL, 0);
}

static int cloned(void *unused) {
    (void)unused;
    SHOW(sethostname("inner", 5));
    host("cloned");
    return 0;
}

// Owners are told to those who are in them, or in one around.
static void owners(void) {
    int ready[2], outer = open("/proc/self/ns/uts", O_RDONLY);
    char byte, path[64];
    struct stat owner, user;
    NEED(outer >= 0 && pipe(ready) == 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        NEED(unshare(CLONE_NEWUSER | CLONE_NEWUTS) == 0);
        SHOW(ioctl(outer, NS_GET_USERNS));
        fflush(stdout);
        NEED(write(ready[1], "", 1) == 1);
        pause();
    }
    NEED(pid > 0 && read(ready[0], &byte, 1) == 1);
    snprintf(path, sizeof path, "/proc/%d/ns/uts", pid);
    int inner = open(path, O_RDONLY), of = ioctl(inner, NS_GET_USERNS);
    snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
    SHOW(of >= 0 && fstat(of, &owner) == 0 && stat(path, &user) == 0 && owner.st_ino == user.st_ino);
    NEED(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}

int main(void) {
    enter_scratch();
    NEED(chmod(".", 0755) == 0 && mkdir("d", 0755) == 0 && mkdir("e", 0755) == 0);
    write_file("x", "x");
    write_file("theirs", "theirs");
    NEED(chown("theirs", 2000, 2000) == 0 && chmod("theirs", 0600) == 0);
    SHOW(unshare(0x10));
    SHOW(unshare(0));
    SHOW(unshare(CLONE_FS | CLONE_FILES));
    users();
    mounts();
    owners();
    static char stack[65536];
    fflush(stdout);
    pid_t pid = clone(cloned, stack + sizeof stack, CLONE_NEWUTS | SIGCHLD, NULL);
    NEED(pid > 0 && waitpid(pid, NULL, 0) == pid);
    host("maker");
    SHOW(clone(cloned, stack + sizeof stack, CLONE_NEWNS | CLONE_FS | SIGCHLD, NULL));
    SHOW(clone(cloned, stack + sizeof stack, CLONE_NEWUSER | CLONE_FS | SIGCHLD, NULL));
    DONE();
}
