// Capabilities of files: what execve gives a user by security.capability, what takes them away, and that they go when the file is written.
#include "t.h"
#include <linux/capability.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define BIT(capability) (1u << (capability))

static unsigned long long set_of(const char *which) {
    char line[256];
    unsigned long long set = 0;
    FILE *file = fopen("/proc/self/status", "r");
    NEED(file);
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, which, strlen(which)))
            set = strtoull(line + strlen(which) + 1, NULL, 16);
    fclose(file);
    return set;
}
static int give_form(const char *path, unsigned magic, size_t size, unsigned permitted, unsigned inheritable, unsigned root) {
    struct vfs_ns_cap_data data = {.magic_etc = magic, .data = {{permitted, inheritable}}, .rootid = root};
    return setxattr(path, "security.capability", &data, size, 0);
}
static int give(const char *path, unsigned flags, unsigned permitted, unsigned inheritable) {
    return give_form(path, VFS_CAP_REVISION_2 | flags, XATTR_CAPS_SZ_2, permitted, inheritable, 0);
}
// Executes the file as a user; it prints its sets.
static void run(const char *what, const char *path, int uid, unsigned inheritable, int no_new, unsigned dropped) {
    printf("-- %s\n", what);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (dropped)
            NEED(prctl(PR_CAPBSET_DROP, dropped) == 0);
        if (inheritable) {
            struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
            struct __user_cap_data_struct data[2];
            NEED(syscall(SYS_capget, &head, data) == 0);
            data[0].inheritable = inheritable;
            NEED(syscall(SYS_capset, &head, data) == 0);
        }
        NEED(setgid(uid) == 0 && setuid(uid) == 0);
        if (no_new)
            NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
        execl(path, "program", "sets", NULL);
        printf("execve: %s\n", t_errno(errno));
        fflush(stdout);
        _exit(0);
    }
    int status;
    NEED(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        bool is_root = getuid() == 0;
        printf("permitted %llx effective %llx inheritable %llx secure %lu dumpable %d uid %d euid %d\n", is_root ? 1 : set_of("CapPrm:"),
               is_root ? 1 : set_of("CapEff:"), set_of("CapInh:"), getauxval(AT_SECURE), prctl(PR_GET_DUMPABLE) == 1, getuid(), geteuid());
        return 0;
    }
    enter_scratch();
    NEED(chmod(".", 0755) == 0);
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    NEED(n > 0);
    self[n] = 0;
    int from = open(self, O_RDONLY), to = open("copy", O_CREAT | O_RDWR, 0755);
    NEED(from >= 0 && to >= 0);
    char buffer[4096];
    while ((n = read(from, buffer, sizeof buffer)) > 0)
        NEED(write(to, buffer, n) == n);
    NEED(close(to) == 0 && chmod("copy", 0755) == 0);
    run("none", "./copy", 1000, 0, 0, 0);
    SHOW(give("copy", VFS_CAP_FLAGS_EFFECTIVE, BIT(CAP_NET_RAW) | BIT(CAP_KILL), 0));
    run("in effect", "./copy", 1000, 0, 0, 0);
    run("of root", "./copy", 0, 0, 0, 0);
    run("no new privileges", "./copy", 1000, 0, 1, 0);
    run("not bounding", "./copy", 1000, 0, 0, CAP_KILL);
    SHOW(give("copy", 0, BIT(CAP_NET_RAW) | BIT(CAP_KILL), 0));
    run("permitted", "./copy", 1000, 0, 0, 0);
    run("permitted, not bounding", "./copy", 1000, 0, 0, CAP_KILL);
    SHOW(give("copy", VFS_CAP_FLAGS_EFFECTIVE, 0, BIT(CAP_CHOWN) | BIT(CAP_KILL)));
    run("inheritable", "./copy", 1000, BIT(CAP_KILL) | BIT(CAP_NET_RAW), 0, 0);
    run("nothing to inherit", "./copy", 1000, 0, 0, 0);
    SHOW(give("copy", 0, 0, 0));
    run("empty", "./copy", 1000, 0, 0, 0);
    SHOW(give_form("copy", VFS_CAP_REVISION_3 | VFS_CAP_FLAGS_EFFECTIVE, XATTR_CAPS_SZ_3, BIT(CAP_KILL), 0, 0));
    run("third form", "./copy", 1000, 0, 0, 0);
    SHOW(give_form("copy", VFS_CAP_REVISION_3 | VFS_CAP_FLAGS_EFFECTIVE, XATTR_CAPS_SZ_3, BIT(CAP_KILL), 0, 77));
    run("of another namespace", "./copy", 1000, 0, 0, 0);
    // With the set-ID bit of root's file the capabilities are all that a user gains.
    SHOW(give("copy", VFS_CAP_FLAGS_EFFECTIVE, BIT(CAP_KILL), 0));
    NEED(chmod("copy", 04755) == 0);
    run("set-user-ID", "./copy", 1000, 0, 0, 0);
    NEED(chmod("copy", 0755) == 0);
    run("again", "./copy", 1000, 0, 0, 0);
    // What is written has none any more.
    SHOW(chown("copy", 0, 0));
    run("after chown", "./copy", 1000, 0, 0, 0);
    SHOW(give("copy", VFS_CAP_FLAGS_EFFECTIVE, BIT(CAP_KILL), 0));
    to = open("copy", O_WRONLY);
    NEED(to >= 0 && pwrite(to, "\177", 1, 0) == 1 && close(to) == 0);
    run("after a write", "./copy", 1000, 0, 0, 0);
    DONE();
}
