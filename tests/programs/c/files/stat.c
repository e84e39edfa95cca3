// stat, lstat, fstat, fstatat, statx and access agree, on files of the image and on new ones.
// data: yes
#include "t.h"
#include <sys/sysmacros.h>

static void show(const char *name, const struct stat *st) {
    printf("%s: mode %o links %ld uid %u gid %u size %ld blksize>0 %d\n", name, st->st_mode,
           S_ISDIR(st->st_mode) ? 0L : (long)st->st_nlink, st->st_uid, st->st_gid, S_ISDIR(st->st_mode) ? 0L : (long)st->st_size,
           st->st_blksize > 0);
}

int main(void) {
    struct stat a, b, c;
    SHOW(stat(data_file("hello.txt"), &a));
    show("hello.txt", &a);
    int fd = open(data_file("hello.txt"), O_RDONLY);
    SHOW(fstat(fd, &b));
    SHOW(fstatat(AT_FDCWD, data_file("hello.txt"), &c, 0));
    CHECK(a.st_ino == b.st_ino && b.st_ino == c.st_ino && a.st_dev == b.st_dev && a.st_ino != 0);
    struct statx x;
    SHOW(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x));
    CHECK((x.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
    CHECK(x.stx_ino == a.st_ino && x.stx_size == (uint64_t)a.st_size && x.stx_mode == a.st_mode);
    CHECK(makedev(x.stx_dev_major, x.stx_dev_minor) == a.st_dev);
    CHECK(x.stx_mtime.tv_sec == a.st_mtim.tv_sec);
    SHOW(stat(data_file("tree"), &a));
    show("tree", &a);
    SHOW(lstat(data_file("tree/link"), &a));
    SHOW(S_ISLNK(a.st_mode));
    SHOW(access(data_file("hello.txt"), R_OK));
    SHOW(access(data_file("absent"), F_OK));
    SHOW(access(data_file("hello.txt"), X_OK));
    SHOW(access(data_file("hello.txt"), 77));
    SHOW(faccessat(AT_FDCWD, data_file("tree"), X_OK, 0));
    enter_scratch();
    write_file("new", "123");
    SHOW(stat("new", &a));
    show("new", &a);
    CHECK(a.st_mtim.tv_sec > 1600000000);
    SHOW(chmod("new", 04711));
    SHOW(stat("new", &a));
    show("new", &a);
    SHOW(fchmod(open("new", O_RDONLY), 0600));
    SHOW(chown("new", 12, 34));
    SHOW(stat("new", &a));
    show("new", &a);
    SHOW(fstat(1234, &a));
    SHOW(fstatat(AT_FDCWD, "", &a, 0));
    SHOW(fstatat(fd, "", &a, AT_EMPTY_PATH));
    SHOW(stat("new/x", &a));
    DONE();
}
