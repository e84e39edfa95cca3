// /proc/locks shows the locks of flock(2), of processes and of open file descriptions (proc(5)).
#include "t.h"
#include <sys/file.h>
#include <sys/sysmacros.h>

// Prints the lines about the file, without number, process and device.
static void show(int fd, const char *when) {
    struct stat stat;
    CHECK(fstat(fd, &stat) == 0);
    printf("%s:\n", when);
    FILE *list = fopen("/proc/locks", "r");
    CHECK(list != NULL);
    char line[256];
    while (list && fgets(line, sizeof line, list)) {
        char kind[16], mode[16], access[16], first[32], last[32];
        int number, pid;
        unsigned major, minor;
        unsigned long inode;
        int found = sscanf(line, "%d: %15s %15s %15s %d %x:%x:%lu %31s %31s", &number, kind, mode, access, &pid, &major, &minor,
                           &inode, first, last);
        if (found != 10 || inode != stat.st_ino || makedev(major, minor) != stat.st_dev)
            continue;
        const char *who = pid == getpid() ? "own" : pid == -1 ? "none" : "other";
        printf("  %s %s %s %s %s to %s\n", kind, mode, access, who, first, last);
    }
    if (list)
        fclose(list);
}

int main(void) {
    // On a file system whose device number is the same in stat(2) and in the list.
    int fd = open("/dev/shm/locks-listed", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(unlink("/dev/shm/locks-listed") == 0);
    show(fd, "none");
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 5};
    CHECK(fcntl(fd, F_SETLK, &lock) == 0);
    show(fd, "a process's");
    lock.l_type = F_UNLCK;
    CHECK(fcntl(fd, F_SETLK, &lock) == 0);
    lock = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET};
    CHECK(fcntl(fd, F_OFD_SETLK, &lock) == 0);
    show(fd, "a description's");
    lock.l_type = F_UNLCK;
    CHECK(fcntl(fd, F_OFD_SETLK, &lock) == 0);
    CHECK(flock(fd, LOCK_EX) == 0);
    show(fd, "flock");
    CHECK(flock(fd, LOCK_SH) == 0);
    show(fd, "flock, shared");
    CHECK(flock(fd, LOCK_UN) == 0);
    show(fd, "released");
    DONE();
}
