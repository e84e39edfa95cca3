// /proc/locks shows the locks of flock(2), of processes and of open file descriptions, and those that wait for them (proc(5)); so does
// /proc/PID/fdinfo with those of a descriptor.
#include "t.h"
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

// Prints the lines of a list about a file, without number, process and device.
static int show_lines(const char *path, const char *before, struct stat stat) {
    FILE *list = fopen(path, "r");
    CHECK(list != NULL);
    char whole[256];
    int shown = 0;
    while (list && fgets(whole, sizeof whole, list)) {
        char *line = whole;
        if (strncmp(line, before, strlen(before)))
            continue;
        line += strlen(before);
        char *arrow = strstr(line, "-> ");
        if (arrow)
            memset(arrow, ' ', 2);
        char kind[16], mode[16], access[16], first[32], last[32];
        int number, pid;
        unsigned major, minor;
        unsigned long inode;
        int found = sscanf(line, "%d: %15s %15s %15s %d %x:%x:%lu %31s %31s", &number, kind, mode, access, &pid, &major, &minor,
                           &inode, first, last);
        if (found != 10 || inode != stat.st_ino || makedev(major, minor) != stat.st_dev)
            continue;
        const char *who = pid == getpid() ? "own" : pid == -1 ? "none" : "other";
        printf("  %s%s %s %s %s %s to %s\n", arrow ? "waits: " : "", kind, mode, access, who, first, last);
        shown++;
    }
    if (list)
        fclose(list);
    return shown;
}

static void show(int fd, const char *when) {
    struct stat stat;
    char path[64];
    CHECK(fstat(fd, &stat) == 0);
    printf("%s:\n", when);
    show_lines("/proc/locks", "", stat);
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    puts(" its descriptor:");
    show_lines(path, "lock:\t", stat);
}

// Has another process wait for the lock, in one of three ways, and shows that.
static void show_waiting(int fd, int way) {
    static const char *const WAYS[] = {"a process waits", "a description waits", "flock waits"};
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 12, .l_len = 100};
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        // A description of its own.
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int own = open(path, O_RDWR);
        if (way == 2)
            flock(own, LOCK_SH);
        else
            fcntl(own, way ? F_OFD_SETLKW : F_SETLKW, &lock);
        _exit(0);
    }
    NEED(child > 0);
    WAIT_UNTIL_ASLEEP(process_state(child));
    show(fd, WAYS[way]);
    NEED(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    show(fd, "not any more");
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
    show_waiting(fd, 0);
    show_waiting(fd, 1);
    lock.l_type = F_UNLCK;
    CHECK(fcntl(fd, F_SETLK, &lock) == 0);
    lock = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET};
    CHECK(fcntl(fd, F_OFD_SETLK, &lock) == 0);
    show(fd, "a description's");
    lock.l_type = F_UNLCK;
    CHECK(fcntl(fd, F_OFD_SETLK, &lock) == 0);
    CHECK(flock(fd, LOCK_EX) == 0);
    show(fd, "flock");
    show_waiting(fd, 2);
    CHECK(flock(fd, LOCK_SH) == 0);
    show(fd, "flock, shared");
    CHECK(flock(fd, LOCK_UN) == 0);
    show(fd, "released");
    DONE();
}
