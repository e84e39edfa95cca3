// Set-ID bits go when a file is written to or gets another size (write(2), truncate(2)), unless the writer may keep them (CAP_FSETID).
#include "t.h"
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>

static int fd;
static void again(int mode) { NEED(fchmod(fd, mode) == 0); }
static void show(const char *what) {
    struct stat st;
    NEED(fstat(fd, &st) == 0);
    printf("%s: %o\n", what, st.st_mode);
}

static void change(void) {
    static const int modes[] = {06755, 06745, 04644, 02755, 02644, 0755, 07777};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        printf("-- %o\n", modes[i]);
        again(modes[i]);
        NEED(pwrite(fd, "", 0, 0) == 0);
        show("nothing written");
        NEED(pwrite(fd, "x", 1, 0) == 1);
        show("written");
        again(modes[i]);
        NEED(pwritev(fd, &(struct iovec){"abc", 3}, 1, 5) == 3);
        show("pwritev");
        again(modes[i]);
        NEED(ftruncate(fd, 100) == 0);
        show("ftruncate");
        again(modes[i]);
        NEED(truncate("file", 50) == 0);
        show("truncate");
        again(modes[i]);
        int other = open("file", O_WRONLY | O_APPEND);
        NEED(other >= 0 && write(other, "end", 3) == 3);
        show("appended");
        close(other);
        again(modes[i]);
        other = open("file", O_WRONLY | O_TRUNC);
        show("opened with O_TRUNC");
        close(other);
        again(modes[i]);
        NEED(pread(fd, &(char){0}, 1, 0) >= 0);
        show("read");
    }
}

int main(void) {
    enter_scratch();
    NEED(chmod(".", 0777) == 0);
    fd = open("file", O_CREAT | O_RDWR, 0600);
    NEED(fd >= 0 && fchown(fd, 1000, 1000) == 0);
    printf("as root\n");
    change();
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        NEED(setgid(1000) == 0 && setuid(1000) == 0);
        printf("as its owner\n");
        change();
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    DONE();
}
