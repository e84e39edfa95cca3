// Extended attributes: namespaces, flags, sizes, links, descriptors, what users may; and when files were made.
#include "t.h"
#include <sys/wait.h>
#include <sys/xattr.h>

// The names of a list, in their order.
static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }
static void show_list(const char *path) {
    static char names[70000];
    char *found[100];
    size_t count = 0;
    errno = 0;
    ssize_t len = llistxattr(path, names, sizeof names);
    for (ssize_t at = 0; at < len && count < 100; at += strlen(names + at) + 1)
        // Where the machine has a security module, its attributes are there.
        if (strcmp(names + at, "security.selinux"))
            found[count++] = names + at;
    qsort(found, count, sizeof *found, by_name);
    printf("%s has %zu:", path, count);
    for (size_t i = 0; i < count; i++)
        printf(" %s", found[i]);
    puts("");
}

static void as_user(void) {
    char b[10];
    NEED(setgid(1234) == 0 && setuid(1234) == 0);
    SHOW(getxattr("f", "user.a", b, sizeof b));
    SHOW(setxattr("f", "user.a", "x", 1, 0));
    SHOW(getxattr("f", "trusted.t", b, sizeof b));
    SHOW(setxattr("f", "trusted.t", "x", 1, 0));
    SHOW(removexattr("f", "trusted.t"));
    SHOW(getxattr("f", "security.s", b, sizeof b));
    SHOW(setxattr("f", "security.s", "x", 1, 0));
    SHOW(setxattr("f", "security.capability", "x", 1, 0));
    SHOW(getxattr("secret", "user.a", b, sizeof b));
    SHOW(setxattr("sticky", "user.a", b, 1, 0));
    SHOW(setxattr("open", "user.a", b, 1, 0));
    show_list("f");
    exit(t_failures != 0);
}

// What only one file system's sizes decide.
static void sizes(const char *path) {
    static char value[70000];
    NEED(close(open(path, O_RDWR | O_CREAT, 0644)) == 0);
    SHOW(setxattr(path, "user.hundred", value, 100, 0));
    SHOW(setxattr(path, "user.large", value, 3000, 0));
    SHOW(setxattr(path, "user.larger", value, 5000, 0));
    SHOW(setxattr(path, "user.largest", value, 65536, 0));
    SHOW(setxattr(path, "user.too_large", value, 65537, 0));
    SHOW(getxattr(path, "user.large", value, sizeof value));
    SHOW(getxattr(path, "user.large", value, 2999));
    SHOW(getxattr(path, "user.largest", NULL, 0));
    SHOW(removexattr(path, "user.large"));
    SHOW(setxattr(path, "user.larger", value, 2000, 0));
    show_list(path);
    NEED(unlink(path) == 0);
}

int main(void) {
    enter_scratch();
    NEED(chmod(".", 0755) == 0);
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    char b[300], long_name[300] = "user.";
    SHOW(listxattr("f", NULL, 0) >= 0);
    SHOW(getxattr("f", "user.a", b, sizeof b));
    SHOW(setxattr("f", "user.a", "value", 5, 0));
    SHOW(getxattr("f", "user.a", b, sizeof b));
    CHECK(!memcmp(b, "value", 5));
    SHOW(getxattr("f", "user.a", NULL, 0));
    SHOW(getxattr("f", "user.a", b, 4));
    SHOW(getxattr("f", "user.a", (void *)8, 5));
    SHOW(setxattr("f", "user.a", "v", 1, XATTR_CREATE));
    SHOW(setxattr("f", "user.b", "v", 1, XATTR_REPLACE));
    SHOW(setxattr("f", "user.b", "v", 1, XATTR_CREATE));
    SHOW(setxattr("f", "user.b", "other", 5, XATTR_REPLACE));
    SHOW(fgetxattr(fd, "user.b", b, sizeof b));
    CHECK(!memcmp(b, "other", 5));
    SHOW(setxattr("f", "user.c", NULL, 0, 0));
    SHOW(getxattr("f", "user.c", b, sizeof b));
    SHOW(setxattr("f", "user.b", "v", 1, 4));
    SHOW(setxattr("f", "user.b", "v", 1, XATTR_CREATE | XATTR_REPLACE));
    SHOW(setxattr("f", "user.d", (void *)8, 5, 0));
    SHOW(setxattr("f", "", "v", 1, 0));
    SHOW(setxattr("f", "user.", "v", 1, 0));
    SHOW(setxattr("f", "user", "v", 1, 0));
    SHOW(setxattr("f", "other.a", "v", 1, 0));
    SHOW(getxattr("f", "other.a", b, 1));
    SHOW(getxattr("f", (void *)8, b, 1));
    memset(long_name + 5, 'n', 250);
    SHOW(setxattr("f", long_name, "v", 1, 0));
    SHOW(getxattr("f", long_name, b, sizeof b));
    SHOW(removexattr("f", long_name));
    long_name[255] = 'n';
    SHOW(setxattr("f", long_name, "v", 1, 0));
    SHOW(getxattr("f", long_name, b, sizeof b));
    SHOW(setxattr("absent", "user.a", "v", 1, 0));
    SHOW(getxattr("absent", "", b, 1));
    show_list("f");
    SHOW(listxattr("f", b, 1));
    SHOW(fremovexattr(fd, "user.c"));
    SHOW(fremovexattr(fd, "user.c"));
    SHOW(removexattr("f", "user.b"));
    show_list("f");

    SHOW(setxattr("f", "trusted.t", "t", 1, 0));
    SHOW(setxattr("f", "security.s", "s", 1, 0));
    SHOW(setxattr("f", "security.capability", "s", 1, 0));
    show_list("f");

    // Links, directories and special files.
    NEED(symlink("f", "link") == 0 && mkdir("d", 0755) == 0 && mkfifo("fifo", 0644) == 0);
    SHOW(getxattr("link", "user.a", b, sizeof b));
    SHOW(lgetxattr("link", "user.a", b, sizeof b));
    SHOW(lsetxattr("link", "user.a", "v", 1, 0));
    SHOW(lsetxattr("link", "trusted.of_link", "v", 1, 0));
    SHOW(lremovexattr("link", "user.a"));
    SHOW(setxattr("link", "user.by_link", "v", 1, 0));
    show_list("link");
    show_list("f");
    SHOW(setxattr("d", "user.a", "v", 1, 0));
    SHOW(setxattr("fifo", "user.a", "v", 1, 0));
    SHOW(getxattr("fifo", "user.a", b, 1));
    SHOW(setxattr("fifo", "trusted.a", "v", 1, 0));
    show_list("d");
    show_list("fifo");
    int pipes[2];
    NEED(pipe(pipes) == 0);
    SHOW(fsetxattr(pipes[0], "user.a", "v", 1, 0));
    SHOW(fgetxattr(pipes[0], "user.a", b, 1));
    SHOW(fsetxattr(999, "user.a", "v", 1, 0));
    int path = open("f", O_PATH);
    SHOW(fgetxattr(path, "user.a", b, 1));
    SHOW(setxattr("/proc/self/status", "user.a", "v", 1, 0));
    SHOW(getxattr("/proc/self/status", "user.a", b, 1));

    // They are with the file, whatever its names, and change its time.
    struct stat before, after;
    NEED(fstat(fd, &before) == 0);
    sleep_ms(20);
    SHOW(setxattr("f", "user.time", "v", 1, 0));
    NEED(fstat(fd, &after) == 0);
    CHECK(before.st_ctim.tv_sec != after.st_ctim.tv_sec || before.st_ctim.tv_nsec != after.st_ctim.tv_nsec);
    CHECK(before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    SHOW(rename("f", "g"));
    SHOW(link("g", "f"));
    show_list("g");
    SHOW(unlink("g"));
    SHOW(fgetxattr(fd, "user.time", b, sizeof b));

    NEED(close(open("secret", O_CREAT, 0600)) == 0 && close(open("open", O_CREAT, 0600)) == 0);
    NEED(mkdir("sticky", 0777) == 0 && chmod("sticky", 01777) == 0 && chmod("open", 0666) == 0);
    pid_t child = fork();
    if (child == 0)
        as_user();
    int status;
    NEED(waitpid(child, &status, 0) == child);
    CHECK(status == 0);

    // The time at which it was made stays.
    struct statx made, later;
    SHOW(statx(AT_FDCWD, "f", 0, STATX_BTIME, &made));
    CHECK(made.stx_mask & STATX_BTIME && made.stx_btime.tv_sec > 1600000000);
    NEED(write(fd, "x", 1) == 1 && chmod("f", 0600) == 0);
    SHOW(statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &later));
    CHECK(made.stx_btime.tv_sec == later.stx_btime.tv_sec && made.stx_btime.tv_nsec == later.stx_btime.tv_nsec);

    sizes("/dev/shm/coracle-sizes");
    if (getenv("SCRATCH"))
        sizes("sizes");
    DONE();
}
