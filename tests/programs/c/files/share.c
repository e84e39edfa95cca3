// A file that is mapped, written, cut and removed while it is open: all ways to its bytes show the same.
#include "t.h"
#include <sys/mman.h>
#include <sys/wait.h>

enum { PAGE = 4096 };

int main(void) {
    enter_scratch();
    int fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0400);
    NEED(fd >= 0 && ftruncate(fd, 3 * PAGE + 100) == 0);
    char *shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    NEED((void *)shared != (void *)-1 && (void *)private != (void *)-1);
    char bytes[16] = "";
    memcpy(shared + 5000, "mapped", 6);
    CHECK(pread(fd, bytes, 6, 5000) == 6 && memcmp(bytes, "mapped", 6) == 0);
    CHECK(memcmp(private + 5000, "mapped", 6) == 0);
    private[5000] = 'P';
    CHECK(shared[5000] == 'm');
    CHECK(pwrite(fd, "written", 7, 9000) == 7 && memcmp(shared + 9000, "written", 7) == 0);
    pid_t child = fork();
    if (child == 0) {
        memcpy(shared + 100, "child", 5);
        _exit(0);
    }
    CHECK(waitpid(child, NULL, 0) == child && memcmp(shared + 100, "child", 5) == 0);
    SHOW(msync(shared, 4 * PAGE, MS_SYNC));
    SHOW(fsync(fd));
    SHOW(fdatasync(fd));
    // Another description sees it, too.
    int other = open("file", O_RDONLY);
    CHECK(other >= 0 && pread(other, bytes, 5, 100) == 5 && memcmp(bytes, "child", 5) == 0);
    // What was cut off comes back as zeroes.
    SHOW(ftruncate(fd, 6000));
    SHOW(ftruncate(fd, 10000));
    CHECK(pread(fd, bytes, 7, 9000) == 7 && memcmp(bytes, "\0\0\0\0\0\0\0", 7) == 0);
    // The same without a name.
    struct stat st;
    SHOW(unlink("file"));
    SHOW(access("file", F_OK));
    CHECK(fstat(fd, &st) == 0 && st.st_size == 10000 && st.st_nlink == 0);
    CHECK(pwrite(fd, "xyz", 3, 0) == 3 && ftruncate(fd, 2) == 0 && ftruncate(fd, 5) == 0);
    CHECK(pread(other, bytes, sizeof bytes, 0) == 5 && memcmp(bytes, "xy\0\0\0", 5) == 0);
    shared[0] = 'Q';
    CHECK(pread(fd, bytes, 1, 0) == 1 && bytes[0] == 'Q');
    SHOW(fchmod(fd, 0640));
    CHECK(fstat(fd, &st) == 0 && (st.st_mode & 0777) == 0640);
    close(fd);
    CHECK(pread(other, bytes, 1, 0) == 1 && bytes[0] == 'Q');
    // A new file of the name is another one, also if it has the number of the old one.
    int new = open("file", O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(new >= 0 && pread(new, bytes, 1, 0) == 0 && fstat(new, &st) == 0 && st.st_size == 0);
    // Appends of two processes do not meet.
    child = fork();
    int appends = open("file", O_WRONLY | O_APPEND);
    for (int i = 0; i < 100; i++)
        CHECK(write(appends, child == 0 ? "child\n" : "paren\n", 6) == 6);
    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
    CHECK(fstat(new, &st) == 0 && st.st_size == 1200);
    int lines = 0;
    for (off_t at = 0; at < 1200; at += 6)
        lines += pread(new, bytes, 6, at) == 6 && (memcmp(bytes, "child\n", 6) == 0 || memcmp(bytes, "paren\n", 6) == 0);
    printf("%d lines\n", lines);
    DONE();
}
