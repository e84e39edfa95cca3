// open with its flags: O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY, O_NOFOLLOW, access modes, and the errors of each.
#include "t.h"

int main(void) {
    enter_scratch();
    SHOW(open("a", O_RDONLY));
    int fd = open("a", O_RDWR | O_CREAT | O_EXCL, 0644);
    SHOW(fd);
    SHOW(write(fd, "hello", 5));
    SHOW(open("a", O_RDWR | O_CREAT | O_EXCL, 0644));
    int ro = open("a", O_RDONLY), wo = open("a", O_WRONLY);
    char b[8];
    SHOW(write(ro, "x", 1));
    SHOW(read(wo, b, 1));
    SHOW(read(ro, b, 8));
    SHOW(fcntl(ro, F_GETFL) & O_ACCMODE);
    SHOW(fcntl(wo, F_GETFL) & O_ACCMODE);
    SHOW(fcntl(fd, F_GETFL) & O_ACCMODE);
    SHOW(close(open("a", O_WRONLY | O_TRUNC)));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(mkdir("d", 0755));
    SHOW(open("d", O_WRONLY));
    SHOW(open("a", O_RDONLY | O_DIRECTORY));
    SHOW(open("d", O_RDONLY | O_DIRECTORY) >= 0);
    SHOW(open("d/x/y", O_RDONLY));
    SHOW(open("a/x", O_RDONLY));
    SHOW(symlink("a", "l"));
    SHOW(open("l", O_RDONLY | O_NOFOLLOW));
    SHOW(open("l", O_RDONLY) >= 0);
    SHOW(open("", O_RDONLY));
    SHOW(open("new/", O_CREAT | O_RDWR, 0644));
    SHOW(open("d", O_CREAT | O_RDWR, 0644));
    int path = open("a", O_PATH);
    SHOW(path >= 0);
    SHOW(read(path, b, 1));
    struct stat st;
    SHOW(fstat(path, &st));
    int tmp = open(".", O_TMPFILE | O_RDWR, 0600);
    CHECK(tmp >= 0 && write(tmp, "t", 1) == 1);
    SHOW((fcntl(tmp, F_GETFL) & O_TMPFILE) == O_TMPFILE);
    SHOW(open("d", O_RDONLY | O_TRUNC));
    SHOW(openat(AT_FDCWD, "a", O_RDONLY) >= 0);
    int dir = open("d", O_RDONLY | O_DIRECTORY);
    SHOW(openat(dir, "inside", O_CREAT | O_WRONLY, 0600) >= 0);
    SHOW(access("d/inside", F_OK));
    SHOW(openat(ro, "x", O_RDONLY));
    SHOW(openat(-7, "x", O_RDONLY));
    SHOW(creat("made", 0600) >= 0);
    DONE();
}
