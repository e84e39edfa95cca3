// Record locks at execve(2): kept, but for those of files whose descriptor is close-on-exec (fcntl(2)).
#include "t.h"
#include <sys/wait.h>

static const char *const paths[] = {"kept", "closed", "closed twin"};

static void look(void) {
    if (fork() == 0) {
        for (int i = 0; i < 3; i++) {
            struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
            int fd = open(paths[i], O_RDWR);
            NEED(fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0);
            printf("%s: %s\n", paths[i], lock.l_type == F_UNLCK ? "free" : lock.l_pid == getppid() ? "locked" : "locked by another");
        }
        exit(0);
    }
    wait(NULL);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        look();
        DONE();
    }
    enter_scratch();
    for (int i = 0; i < 3; i++) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int fd = open(paths[i], O_RDWR | O_CREAT | (i ? O_CLOEXEC : 0), 0600);
        NEED(fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0);
        // A twin that stays open makes no difference: any close ends the process's locks on the file.
        if (i == 2)
            NEED(open(paths[i], O_RDWR) >= 0);
    }
    look();
    puts("after exec:");
    execl("/proc/self/exe", argv[0], "after", NULL);
    NEED(!"executed");
}
