// Errors of opening and naming files that come before others: flags that don't go together, empty paths, names before slashes, other mounts.
#include "t.h"
#include <linux/openat2.h>
#include <sys/sendfile.h>

static int directory;

static long open_as(const char *path, uint64_t flags, uint64_t resolve) {
    struct open_how how = {.flags = flags, .resolve = resolve};
    long fd = syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (fd >= 0)
        close(fd);
    return fd < 0 ? fd : 0;
}

int main(void) {
    enter_scratch();
    char b[64];
    int file = open("a", O_RDWR | O_CREAT, 0644);
    NEED(write(file, "hello", 5) == 5);
    NEED(mkdir("d", 0755) == 0 && symlink("d", "to_d") == 0 && symlink("nowhere", "dangling") == 0);
    directory = open(".", O_RDONLY | O_DIRECTORY);
    puts("flags");
    SHOW(open("d", O_TMPFILE | O_CREAT | O_RDWR, 0600));
    SHOW(open("to_d", O_NOFOLLOW | O_DIRECTORY));
    SHOW(open("to_d", O_NOFOLLOW));
    int neither = open("a", O_WRONLY | O_RDWR);
    SHOW(neither >= 0);
    SHOW(read(neither, b, 1));
    SHOW(write(neither, b, 1));
    SHOW(open_as("a", O_PATH | O_RDWR, 0));
    SHOW(open_as("a", O_PATH | O_CLOEXEC, 0));
    SHOW(open_as("a", O_CREAT, RESOLVE_CACHED));
    SHOW(open_as("a", O_TRUNC | O_RDWR, RESOLVE_CACHED));
    SHOW(open_as("d", O_TMPFILE | O_RDWR, RESOLVE_CACHED));
    puts("other mounts");
    int here = directory;
    directory = open("/proc", O_RDONLY | O_DIRECTORY);
    NEED(directory >= 0);
    SHOW(open_as("..", O_PATH, 0));
    SHOW(open_as("..", O_PATH, RESOLVE_NO_XDEV));
    SHOW(open_as("self/../..", O_PATH, RESOLVE_NO_XDEV));
    SHOW(open_as("self/../version", O_RDONLY, RESOLVE_NO_XDEV));
    SHOW(open_as("/", O_PATH, RESOLVE_NO_XDEV));
    SHOW(open_as("/proc", O_PATH, RESOLVE_NO_XDEV));
    close(directory);
    directory = here;
    puts("empty paths");
    SHOW(openat(file, "", O_RDONLY));
    SHOW(mkdirat(file, "", 0755));
    SHOW(fchmodat(file, "", 0644, 0));
    SHOW(faccessat(file, "", F_OK, 0));
    SHOW(readlink("", b, sizeof b));
    SHOW(readlinkat(file, "", b, sizeof b));
    int link = open("to_d", O_PATH | O_NOFOLLOW);
    SHOW(readlinkat(link, "", b, sizeof b));
    SHOW(readlink("a", b, sizeof b));
    puts("before slashes");
    SHOW(mkdir("dangling", 0755));
    SHOW(mkdir("dangling/", 0755));
    SHOW(mkdir("to_d//", 0755));
    SHOW(mkdir("new//", 0755));
    SHOW(mknod("node/", S_IFREG | 0600, 0));
    SHOW(mkdir("/", 0755));
    puts("other mounts");
    SHOW(rename("nowhere", "/proc/x"));
    SHOW(rename("a", "/proc/self/x"));
    puts("offsets");
    SHOW(pread(file, b, 1, INT64_MAX));
    SHOW(pwrite(file, b, 1, INT64_MAX));
    SHOW(pwrite(file, b, 0, INT64_MAX));
    SHOW(pread(file, b, 1, INT64_MAX - 1));
    SHOW(lseek(file, INT64_MAX, SEEK_END));
    SHOW(lseek(file, INT64_MAX, SEEK_CUR));
    SHOW(lseek(file, INT64_MIN, SEEK_CUR));
    puts("times");
    struct timespec omitted[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}}, wrong[2] = {{0, 1000000000}, {0, 0}};
    SHOW(utimensat(AT_FDCWD, "nowhere", omitted, 0));
    SHOW(utimensat(AT_FDCWD, "nowhere", wrong, 0));
    SHOW(utimensat(AT_FDCWD, "a", wrong, 0));
    struct statx about;
    SHOW(statx(AT_FDCWD, "a", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &about));
    SHOW(readahead(directory, 0, 1));
    puts("removed directories");
    NEED(mkdir("gone", 0755) == 0);
    int gone = open("gone", O_RDONLY);
    NEED(rmdir("gone") == 0);
    SHOW(syscall(SYS_getdents64, gone, b, sizeof b));
    SHOW(openat(gone, "x", O_CREAT | O_RDWR, 0644));
    DONE();
}
