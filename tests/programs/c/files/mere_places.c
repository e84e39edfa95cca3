// Descriptors of O_PATH: which calls take them, and that all others fail with EBADF (open(2)). The end of one leaves record locks alone,
// that of any other descriptor of the file does not (fcntl(2)).
#include "t.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>

// The test takes the word FAILED for a fault.
#define NO_MAP ((void *)MAP_FAILED)

// The kind of lock that another process finds in the way.
static int seen_by_other(int file) {
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        struct flock lock = {.l_type = F_WRLCK};
        NEED(fcntl(file, F_GETLK, &lock) == 0);
        _exit(lock.l_type);
    }
    int status;
    NEED(waitpid(child, &status, 0) == child);
    return WEXITSTATUS(status);
}

int main(void) {
    enter_scratch();
    char b[256];
    int file = open("a", O_RDWR | O_CREAT, 0644);
    int place = open("a", O_PATH), directory = open(".", O_PATH);
    NEED(file >= 0 && place >= 0 && directory >= 0);
    struct stat st;
    struct statfs fs;
    puts("taken");
    SHOW(fstat(place, &st));
    SHOW(fstatfs(place, &fs));
    SHOW(dup(place) >= 0);
    SHOW(fcntl(place, F_DUPFD, 0) >= 0);
    SHOW(fcntl(place, F_SETFD, FD_CLOEXEC));
    SHOW(fcntl(place, F_GETFD));
    SHOW(fcntl(place, F_GETFL) == (O_PATH | 0100000) || fcntl(place, F_GETFL) == O_PATH);
    SHOW(fchdir(directory));
    SHOW(close(openat(directory, "a", O_RDONLY)));
    SHOW(fstatat(place, "", &st, AT_EMPTY_PATH));
    puts("refused");
    SHOW(read(place, b, 1));
    SHOW(write(place, b, 1));
    SHOW(pread(place, b, 1, 0));
    SHOW(lseek(place, 0, SEEK_SET));
    SHOW(ftruncate(place, 1));
    SHOW(fallocate(place, 0, 0, 1));
    SHOW(fsync(place));
    SHOW(fdatasync(place));
    SHOW(syncfs(place));
    SHOW(fchmod(place, 0600));
    SHOW(fchown(place, -1, -1));
    SHOW(futimens(place, NULL));
    SHOW(flock(place, LOCK_SH));
    SHOW(fcntl(place, F_SETFL, O_APPEND));
    SHOW(fcntl(place, F_GETLK, b));
    SHOW(ioctl(place, FIONREAD, b));
    SHOW(fgetxattr(place, "user.a", b, 1));
    SHOW(syscall(SYS_getdents64, directory, b, sizeof b));
    SHOW(sendfile(file, place, NULL, 1));
    SHOW(copy_file_range(place, NULL, file, NULL, 1, 0));
    SHOW(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, place, 0) == NO_MAP ? -1 : 0);
    SHOW(posix_fadvise(place, 0, 0, POSIX_FADV_NORMAL) == EBADF);
    int set = epoll_create1(0);
    struct epoll_event event = {0};
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, place, &event));
    struct pollfd one = {.fd = place, .events = POLLIN};
    SHOW(poll(&one, 1, 0));
    SHOW(one.revents == POLLNVAL);
    puts("locks");
    struct flock lock = {.l_type = F_WRLCK};
    SHOW(fcntl(file, F_SETLK, &lock));
    SHOW(close(open("a", O_PATH)));
    SHOW(seen_by_other(file) == F_WRLCK);
    SHOW(dup2(0, place) == place);
    SHOW(seen_by_other(file) == F_WRLCK);
    SHOW(close(open("a", O_RDONLY)));
    SHOW(seen_by_other(file) == F_UNLCK);
    DONE();
}
