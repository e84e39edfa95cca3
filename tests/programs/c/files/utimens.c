// utimensat, futimens and utimes set times to the nanosecond; reading and writing move them.
#include "t.h"
#include <sys/time.h>
#include <utime.h>

int main(void) {
    enter_scratch();
    write_file("f", "x");
    struct timespec t[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
    struct stat st;
    SHOW(utimensat(AT_FDCWD, "f", t, 0));
    stat("f", &st);
    printf("%ld.%09ld %ld.%09ld\n", st.st_atim.tv_sec, st.st_atim.tv_nsec, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    int fd = open("f", O_RDWR);
    t[0].tv_nsec = UTIME_OMIT;
    t[1].tv_nsec = UTIME_NOW;
    SHOW(futimens(fd, t));
    fstat(fd, &st);
    printf("%ld.%09ld\n", st.st_atim.tv_sec, st.st_atim.tv_nsec);
    CHECK(st.st_mtim.tv_sec > 1600000000);
    struct timeval tv[2] = {{5, 6}, {7, 8}};
    SHOW(utimes("f", tv));
    stat("f", &st);
    printf("%ld.%09ld %ld.%09ld\n", st.st_atim.tv_sec, st.st_atim.tv_nsec, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    SHOW(write(fd, "y", 1));
    fstat(fd, &st);
    CHECK(st.st_mtim.tv_sec > 1600000000);
    t[1].tv_nsec = 2000000000;
    SHOW(futimens(fd, t));
    SHOW(utimensat(AT_FDCWD, "none", NULL, 0));
    SHOW(utimensat(AT_FDCWD, "f", NULL, 0));
    symlink("f", "l");
    t[0] = t[1] = (struct timespec){42, 0};
    SHOW(utimensat(AT_FDCWD, "l", t, AT_SYMLINK_NOFOLLOW));
    lstat("l", &st);
    SHOW(st.st_mtim.tv_sec);
    DONE();
}
