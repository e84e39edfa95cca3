// The bound on a tmpfs's inodes (nr_inodes): what counts, what is refused, what is free again, and another bound by MS_REMOUNT.
#include "t.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/statfs.h>

static int make(const char *path) {
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}
static void counts(void) {
    struct statfs own;
    NEED(statfs("d", &own) == 0);
    printf("inodes %ld, free %ld\n", (long)own.f_files, (long)own.f_ffree);
}

int main(void) {
    enter_scratch();
    NEED(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    NEED(mkdir("d", 0755) == 0);
    SHOW(mount("none", "d", "tmpfs", 0, "size=64k,nr_inodes=x"));
    SHOW(mount("none", "d", "tmpfs", 0, "size=64k,nr_inodes=5"));
    counts();
    SHOW(make("d/a"));
    SHOW(mkdir("d/b", 0755));
    SHOW(symlink("a", "d/c"));
    SHOW(mkfifo("d/e", 0644));
    counts();
    SHOW(make("d/f"));
    SHOW(mkdir("d/f", 0755));
    int fd = open("d/a", O_RDONLY);
    SHOW(unlink("d/a"));
    SHOW(make("d/f"));
    close(fd);
    SHOW(make("d/f"));
    SHOW(rename("d/f", "d/c"));
    counts();
    SHOW(mount("none", "d", "tmpfs", MS_REMOUNT, "nr_inodes=2"));
    SHOW(mount("none", "d", "tmpfs", MS_REMOUNT, "nr_inodes=1k"));
    counts();
    SHOW(make("d/g"));
    DONE();
}
