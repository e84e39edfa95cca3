// Pairs of pseudo-terminals, and what comes out of them.
#ifndef PTY_H
#define PTY_H
#include "t.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

struct pair {
    int master, slave;
    char name[64];
};

// A new master, whose slave is not open.
__attribute__((unused)) static struct pair new_master(void) {
    struct pair pair = {.master = posix_openpt(O_RDWR | O_NOCTTY), .slave = -1};
    NEED(pair.master >= 0);
    NEED(grantpt(pair.master) == 0);
    NEED(unlockpt(pair.master) == 0);
    NEED(ptsname_r(pair.master, pair.name, sizeof pair.name) == 0);
    return pair;
}

__attribute__((unused)) static struct pair new_pair(void) {
    struct pair pair = new_master();
    pair.slave = open(pair.name, O_RDWR | O_NOCTTY);
    NEED(pair.slave >= 0);
    return pair;
}

__attribute__((unused)) static void close_pair(struct pair *pair) {
    close(pair->slave);
    close(pair->master);
}

// Changes the modes of a terminal.
__attribute__((unused)) static void set_modes(int fd, tcflag_t input, tcflag_t output, tcflag_t local) {
    struct termios modes;
    NEED(tcgetattr(fd, &modes) == 0);
    modes.c_iflag = input;
    modes.c_oflag = output;
    modes.c_lflag = local;
    NEED(tcsetattr(fd, TCSANOW, &modes) == 0);
}

// Bytes that pass as they are.
__attribute__((unused)) static void set_raw(int fd) { set_modes(fd, 0, 0, 0); }

__attribute__((unused)) static void set_waits(int fd, int fewest, int tenths) {
    struct termios modes;
    NEED(tcgetattr(fd, &modes) == 0);
    modes.c_cc[VMIN] = (cc_t)fewest;
    modes.c_cc[VTIME] = (cc_t)tenths;
    NEED(tcsetattr(fd, TCSANOW, &modes) == 0);
}

__attribute__((unused)) static void show_bytes(const char *what, const char *bytes, ssize_t count) {
    printf("%s: ", what);
    if (count < 0)
        printf("%s", t_errno(errno));
    for (ssize_t i = 0; i < count; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte >= ' ' && byte < 127 && byte != '\\')
            putchar(byte);
        else
            printf("\\x%02x", byte);
    }
    printf("\n");
}

// Shows one read.
__attribute__((unused)) static void show_read(const char *what, int fd, size_t most) {
    char bytes[8192];
    errno = 0;
    ssize_t count = read(fd, bytes, most);
    show_bytes(what, bytes, count);
}

// Shows what comes, up to the byte `last`.
__attribute__((unused)) static void show_until(const char *what, int fd, char last) {
    char bytes[8192];
    size_t count = 0;
    do {
        ssize_t more = read(fd, bytes + count, 1);
        NEED(more == 1);
        count++;
    } while (bytes[count - 1] != last && count < sizeof bytes);
    show_bytes(what, bytes, (ssize_t)count);
}

__attribute__((unused)) static void type(int master, const char *text) {
    NEED(write(master, text, strlen(text)) == (ssize_t)strlen(text));
}

// Events that poll(2) reports at once.
__attribute__((unused)) static int events(int fd) {
    struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI};
    NEED(poll(&one, 1, 0) >= 0);
    return one.revents;
}

__attribute__((unused)) static void show_events(const char *what, int fd) {
    int now = events(fd);
    printf("%s:%s%s%s%s%s\n", what, now & POLLIN ? " IN" : "", now & POLLOUT ? " OUT" : "",
           now & POLLPRI ? " PRI" : "", now & POLLERR ? " ERR" : "", now & POLLHUP ? " HUP" : "");
}

// Waits for an event: on Linux bytes pass from one end to the other some time after they were written.
__attribute__((unused)) static void await(int fd, short event) {
    struct pollfd one = {.fd = fd, .events = event};
    NEED(poll(&one, 1, -1) == 1);
}

__attribute__((unused)) static int waiting(int fd) {
    int count = -1;
    NEED(ioctl(fd, FIONREAD, &count) == 0);
    return count;
}

// The end of a child, in words.
__attribute__((unused)) static void show_end(const char *what, pid_t child) {
    int status;
    while (waitpid(child, &status, 0) != child)
        NEED(errno == EINTR);
    if (WIFEXITED(status))
        printf("%s: exited %d\n", what, WEXITSTATUS(status));
    else
        printf("%s: killed by %s\n", what, sigabbrev_np(WTERMSIG(status)));
}

#endif
