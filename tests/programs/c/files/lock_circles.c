// A wait for a record lock that could never end fails with EDEADLK, whichever process closes the circle; a wait that is over
// is no part of one, and the locks of descriptions are not looked at.
// machines: all
#include "t.h"
#include <sys/wait.h>

enum { MEMBERS = 3 };
static int file;

static int set(int command, int type, int byte) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(file, command, &lock);
}

static void nothing(int signal) { (void)signal; }

// A child that locks `own` and says so, then waits for `other`; its status says how that ended: 0, or errno.
static pid_t start(int own, int other, int other_type) {
    int ready[2];
    NEED(pipe(ready) == 0);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        NEED(set(F_SETLK, F_WRLCK, own) == 0);
        NEED(write(ready[1], "r", 1) == 1);
        _exit(set(F_SETLKW, other_type, other) == 0 ? 0 : errno);
    }
    char byte;
    NEED(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    close(ready[1]);
    WAIT_UNTIL_ASLEEP(process_state(pid));
    return pid;
}

static const char *end_of(pid_t pid) {
    int status = 0;
    NEED(waitpid(pid, &status, 0) == pid);
    return WEXITSTATUS(status) ? t_errno(WEXITSTATUS(status)) : "0";
}

// Each member but the last waits for the one before; the last would close the circle.
static void circle(int members) {
    NEED(set(F_SETLK, F_WRLCK, 0) == 0);
    pid_t others[MEMBERS];
    for (int i = 1; i < members; i++)
        others[i] = start(i, i - 1, i % 2 ? F_WRLCK : F_RDLCK);
    printf("%d members: ", members);
    SHOW(set(F_SETLKW, F_WRLCK, members - 1));
    // It holds what it held, and each of the others gets what it waits for.
    SHOW(set(F_SETLK, F_UNLCK, 0));
    for (int i = 1; i < members; i++)
        printf("member %d: %s\n", i, end_of(others[i]));
}

// A wait that a signal has ended leaves nothing behind.
static void interrupted(void) {
    struct sigaction action = {.sa_handler = nothing};
    NEED(sigaction(SIGUSR1, &action, NULL) == 0);
    NEED(set(F_SETLK, F_WRLCK, 0) == 0);
    int back[2], go[2];
    char byte;
    NEED(pipe(back) == 0 && pipe(go) == 0);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        NEED(set(F_SETLK, F_WRLCK, 1) == 0);
        NEED(write(back[1], "r", 1) == 1);
        byte = set(F_SETLKW, F_WRLCK, 0) == 0 ? 0 : errno;
        NEED(write(back[1], &byte, 1) == 1);
        NEED(read(go[0], &byte, 1) == 1);
        _exit(0);
    }
    NEED(read(back[0], &byte, 1) == 1);
    WAIT_UNTIL_ASLEEP(process_state(pid));
    NEED(kill(pid, SIGUSR1) == 0);
    NEED(read(back[0], &byte, 1) == 1);
    printf("interrupted: %s\n", t_errno(byte));
    // The child ends, which releases its lock, once this process waits for it.
    pid_t releaser = fork();
    NEED(releaser >= 0);
    if (releaser == 0) {
        WAIT_UNTIL_ASLEEP(process_state(getppid()));
        NEED(write(go[1], "g", 1) == 1);
        _exit(0);
    }
    SHOW(set(F_SETLKW, F_WRLCK, 1));
    printf("child: %s, releaser: %s\n", end_of(pid), end_of(releaser));
    NEED(set(F_SETLK, F_UNLCK, 0) == 0 && set(F_SETLK, F_UNLCK, 1) == 0);
}

// Two descriptions in a circle wait until a signal comes.
static void descriptions(void) {
    int first = open("f", O_RDWR), second = open("f", O_RDWR);
    file = first;
    NEED(set(F_OFD_SETLK, F_WRLCK, 0) == 0);
    file = second;
    NEED(set(F_OFD_SETLK, F_WRLCK, 1) == 0);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        file = first;
        _exit(set(F_OFD_SETLKW, F_WRLCK, 1) == 0 ? 0 : errno);
    }
    WAIT_UNTIL_ASLEEP(process_state(pid));
    pid_t killer = fork();
    NEED(killer >= 0);
    if (killer == 0) {
        WAIT_UNTIL_ASLEEP(process_state(getppid()));
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    SHOW(set(F_OFD_SETLKW, F_WRLCK, 0));
    SHOW(set(F_OFD_SETLK, F_UNLCK, 1));
    printf("child: %s, killer: %s\n", end_of(pid), end_of(killer));
}

int main(void) {
    enter_scratch();
    write_file("f", "0123456789");
    file = open("f", O_RDWR);
    for (int members = 2; members <= MEMBERS; members++)
        circle(members);
    interrupted();
    descriptions();
    DONE();
}
