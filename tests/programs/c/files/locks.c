// flock and fcntl locks: open-file-description locks conflict, a process's own do not.
#include "t.h"
#include <sys/file.h>

int main(void) {
    enter_scratch();
    write_file("f", "x");
    int a = open("f", O_RDWR), b = open("f", O_RDWR);
    SHOW(flock(a, LOCK_EX));
    SHOW(flock(b, LOCK_EX | LOCK_NB));
    SHOW(flock(b, LOCK_SH | LOCK_NB));
    SHOW(flock(a, LOCK_UN));
    SHOW(flock(b, LOCK_SH | LOCK_NB));
    SHOW(flock(a, LOCK_SH | LOCK_NB));
    SHOW(flock(a, LOCK_EX | LOCK_NB));
    close(b);
    SHOW(flock(a, LOCK_EX | LOCK_NB));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    SHOW(fcntl(a, F_SETLK, &lock));
    b = open("f", O_RDWR);
    SHOW(fcntl(b, F_SETLK, &lock));
    SHOW(fcntl(b, F_GETLK, &lock));
    SHOW(lock.l_type == F_UNLCK);
    lock.l_type = F_WRLCK;
    lock.l_pid = 0;
    SHOW(fcntl(a, F_OFD_SETLK, &lock) == 0 || errno == EAGAIN);
    // F_OFD_GETLK with F_UNLCK finds the description's own locks, and no others.
    struct flock own = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 20, .l_len = 5};
    lock.l_type = F_UNLCK;
    NEED(fcntl(a, F_SETLK, &lock) == 0);
    SHOW(fcntl(a, F_OFD_SETLK, &own));
    for (int fd = a, round = 0; round < 2; fd = b, round++) {
        own = (struct flock){.l_type = F_UNLCK, .l_whence = SEEK_SET};
        SHOW(fcntl(fd, F_OFD_GETLK, &own));
        printf("type %s, %d bytes from %d\n", own.l_type == F_RDLCK ? "F_RDLCK" : own.l_type == F_UNLCK ? "F_UNLCK" : "?",
               (int)own.l_len, (int)own.l_start);
    }
    own.l_type = F_UNLCK;
    SHOW(fcntl(a, F_GETLK, &own));
    lock.l_type = 99;
    SHOW(fcntl(a, F_SETLK, &lock));
    SHOW(flock(999, LOCK_EX));
    DONE();
}
