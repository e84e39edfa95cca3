// F_NOTIFY of fcntl(2): signals for what happens in a directory, once or until they are no longer wanted.
#include "t.h"
#include <sys/wait.h>

static volatile sig_atomic_t plain;
static void on_sigio(int signal) { plain += signal == SIGIO; }

static int told_fd, told;
static void on_signal(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    told++;
    told_fd = info->si_fd;
    if (info->si_code != POLL_MSG)
        told = -1000;
}

// Signals since the last look. They come before the call returns that caused them.
static int heard(void) {
    int since = told;
    told = 0;
    return since;
}

static void make(const char *name) {
    int fd = open(name, O_RDWR | O_CREAT, 0644);
    NEED(fd >= 0);
    close(fd);
}

int main(void) {
    enter_scratch();
    NEED(mkdir("d", 0755) == 0 && mkdir("e", 0755) == 0);
    signal(SIGIO, on_sigio);
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    NEED(sigaction(SIGRTMIN, &action, NULL) == 0);
    make("f");
    int file = open("f", O_RDONLY), fd = open("d", O_RDONLY), by_path = open("d", O_PATH);
    NEED(file >= 0 && fd >= 0 && by_path >= 0);
    SHOW(fcntl(file, F_NOTIFY, DN_CREATE));
    SHOW(fcntl(file, F_NOTIFY, 0));
    SHOW(fcntl(by_path, F_NOTIFY, DN_CREATE));
    // SIGIO where no other is set, to the process that asked, once.
    SHOW(fcntl(fd, F_GETOWN));
    SHOW(fcntl(fd, F_NOTIFY, DN_CREATE));
    SHOW(fcntl(fd, F_GETOWN) == getpid());
    make("d/one");
    SHOW(plain);
    make("d/two");
    SHOW(plain);
    // Another signal says by which descriptor.
    SHOW(fcntl(fd, F_SETSIG, SIGRTMIN));
    SHOW(fcntl(fd, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
    make("d/three");
    make("d/four");
    SHOW(heard());
    SHOW(told_fd == fd);
    // What is asked for is added to what was.
    SHOW(fcntl(fd, F_NOTIFY, DN_DELETE));
    NEED(unlink("d/four") == 0 && unlink("d/three") == 0);
    SHOW(heard());
    make("d/three");
    SHOW(heard());
    SHOW(fcntl(fd, F_NOTIFY, 0));
    make("d/four");
    SHOW(heard());
    SHOW(fcntl(fd, F_NOTIFY, DN_MULTISHOT));
    // Each kind alone.
    static const struct { const char *name; int kind; } kinds[] = {
        {"access", DN_ACCESS}, {"modify", DN_MODIFY}, {"create", DN_CREATE},
        {"delete", DN_DELETE}, {"rename", DN_RENAME}, {"attributes", DN_ATTRIB},
    };
    for (int i = 0; i < 6; i++) {
        NEED(fcntl(fd, F_NOTIFY, kinds[i].kind | DN_MULTISHOT) == 0);
        char byte;
        int one = open("d/one", O_RDWR);
        NEED(one >= 0);
        printf("%s: open %d,", kinds[i].name, heard());
        NEED(write(one, "x", 1) == 1);
        printf(" write %d,", heard());
        NEED(pread(one, &byte, 1, 0) == 1);
        printf(" read %d,", heard());
        NEED(ftruncate(one, 0) == 0);
        printf(" truncate %d,", heard());
        close(one);
        NEED(chmod("d/one", 0600) == 0);
        printf(" chmod %d,", heard());
        NEED(rename("d/two", "d/2") == 0);
        printf(" rename %d,", heard());
        NEED(rename("d/2", "e/two") == 0);
        printf(" move away %d,", heard());
        NEED(rename("e/two", "d/two") == 0);
        printf(" move here %d,", heard());
        NEED(mkdir("d/sub", 0755) == 0);
        printf(" mkdir %d,", heard());
        NEED(rmdir("d/sub") == 0);
        printf(" rmdir %d\n", heard());
        NEED(fcntl(fd, F_NOTIFY, 0) == 0);
    }
    // A child's close ends nothing of the parent's; the parent's own does, whatever other descriptor there is.
    int twin = dup(fd);
    SHOW(fcntl(fd, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        close(fd);
        close(twin);
        _exit(0);
    }
    NEED(waitpid(child, NULL, 0) == child);
    make("d/five");
    SHOW(heard());
    close(twin);
    make("d/six");
    SHOW(heard());
    close(fd);
    // Two processes ask by one description, each for itself.
    fd = open("d", O_RDONLY);
    NEED(fd >= 0 && fcntl(fd, F_SETSIG, SIGRTMIN) == 0 && fcntl(fd, F_NOTIFY, DN_DELETE | DN_MULTISHOT) == 0);
    child = fork();
    NEED(child >= 0);
    if (child == 0)
        _exit(fcntl(fd, F_NOTIFY, DN_CREATE | DN_MULTISHOT) != 0);
    NEED(waitpid(child, NULL, 0) == child);
    make("d/seven");
    SHOW(heard());
    NEED(unlink("d/seven") == 0);
    SHOW(heard());
    SHOW(plain);
    DONE();
}
