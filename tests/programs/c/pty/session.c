// Sessions and their controlling terminal: how one gets it and loses it, /dev/tty, the foreground, the signals of keys, of a change of
// the window's size and of a hang-up, and reads and writes from the background (credentials(7), ioctl_tty(2), tcsetpgrp(3)).
// machines: all
#include "pty.h"
#include <sys/prctl.h>

// Runs `body` as the leader of a session of its own, and shows its end.
static void in_session(const char *what, void (*body)(void)) {
    printf("== %s\n", what);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        NEED(setsid() == getpid());
        body();
        exit(t_failures != 0);
    }
    show_end(what, child);
}

static struct pair pair;

// Makes the pair's slave the controlling terminal.
static void take_terminal(void) {
    pair = new_master();
    pair.slave = open(pair.name, O_RDWR);
    NEED(pair.slave >= 0);
}

// tty_nr and tpgid of /proc/self/stat.
static void terminal_in_stat(int *number, int *group) {
    char text[512];
    int fd = open("/proc/self/stat", O_RDONLY);
    ssize_t count = read(fd, text, sizeof text - 1);
    close(fd);
    NEED(count > 0);
    text[count] = 0;
    NEED(sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %d %d", number, group) == 2);
}

static void show_stat(void) {
    int number, group;
    struct stat at;
    terminal_in_stat(&number, &group);
    printf("tty_nr %s, tpgid %s\n",
           number == 0 ? "0" : fstat(pair.slave, &at) == 0 && at.st_rdev == (dev_t)number ? "the slave" : "other",
           group == -1 ? "-1" : group == getpgrp() ? "own" : "other");
}

static void opening(void) {
    int session = -1;
    SHOW(open("/dev/tty", O_RDWR));
    pair = new_pair();
    show_stat();
    SHOW(open("/dev/tty", O_RDWR));
    close(pair.slave);
    pair.slave = open(pair.name, O_WRONLY);
    SHOW(tcgetsid(pair.slave));
    close(pair.slave);
    pair.slave = open(pair.name, O_RDWR);
    show_stat();
    SHOW(tcgetsid(pair.slave) == getsid(0));
    SHOW(tcgetpgrp(pair.slave) == getpgrp());
    SHOW(tcgetpgrp(pair.master) == getpgrp());
    SHOW(ioctl(pair.master, TIOCGSID, &session) == 0 && session == getsid(0));
    SHOW(ioctl(pair.slave, TIOCSCTTY, 0));
    int tty = open("/dev/tty", O_RDWR);
    NEED(tty >= 0);
    SHOW(write(tty, "by name", 7));
    show_until("master", pair.master, 'e');
    char name[64];
    SHOW(ttyname_r(tty, name, sizeof name) == 0 && strcmp(name, "/dev/tty") == 0);
    struct pair other = new_master();
    other.slave = open(other.name, O_RDWR);
    SHOW(tcgetsid(other.slave));
    SHOW(ioctl(other.slave, TIOCSCTTY, 0));
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        // A child has its parent's terminal until it is in a session of its own.
        show_stat();
        SHOW(ioctl(pair.slave, TIOCSCTTY, 0));
        SHOW(setsid() > 0);
        show_stat();
        SHOW(ioctl(pair.slave, TIOCSCTTY, 0));
        SHOW(ioctl(pair.slave, TIOCNOTTY));
        SHOW(tcgetsid(pair.slave));
        SHOW(open("/dev/tty", O_RDWR));
        SHOW(ioctl(other.slave, TIOCSCTTY, 0));
        SHOW(tcgetsid(other.slave) == getpid());
        exit(0);
    }
    show_end("child", child);
    // The leader of that session has ended.
    SHOW(ioctl(other.master, TIOCGSID, &session));
}

static int caught[65];
static void note(int signal) { caught[signal]++; }

static void catch_signal(int signal) {
    struct sigaction action = {.sa_handler = note};
    NEED(sigaction(signal, &action, NULL) == 0);
}

static void show_caught(void) {
    for (int i = 1; i < 65; i++)
        if (caught[i]) {
            printf("caught %d SIG%s\n", caught[i], sigabbrev_np(i));
            caught[i] = 0;
        }
}

static void keys(void) {
    take_terminal();
    catch_signal(SIGINT), catch_signal(SIGQUIT), catch_signal(SIGTSTP), catch_signal(SIGWINCH);
    type(pair.master, "lost");
    show_until("echo", pair.master, 't');
    type(pair.master, "\x03");
    show_until("echo", pair.master, 'C');
    WAIT_UNTIL(caught[SIGINT]);
    type(pair.master, "\x1c");
    WAIT_UNTIL(caught[SIGQUIT]);
    type(pair.master, "\x1a");
    WAIT_UNTIL(caught[SIGTSTP]);
    show_caught();
    show_until("echo", pair.master, 'Z');
    SHOW(waiting(pair.slave));
    struct winsize size = {.ws_row = 5, .ws_col = 6};
    SHOW(ioctl(pair.master, TIOCSWINSZ, &size));
    WAIT_UNTIL(caught[SIGWINCH]);
    SHOW(ioctl(pair.slave, TIOCSWINSZ, &size));
    show_caught();
    SHOW(ioctl(pair.master, TIOCSIG, SIGQUIT));
    WAIT_UNTIL(caught[SIGQUIT]);
    show_caught();
    // With NOFLSH what was typed before stays.
    struct termios modes;
    NEED(tcgetattr(pair.slave, &modes) == 0);
    modes.c_lflag |= NOFLSH;
    NEED(tcsetattr(pair.slave, TCSANOW, &modes) == 0);
    type(pair.master, "kept\x03\n");
    WAIT_UNTIL(caught[SIGINT]);
    show_caught();
    show_read("read", pair.slave, 100);
    // A read is interrupted.
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        char byte;
        SHOW(read(pair.slave, &byte, 1));
        exit(0);
    }
    WAIT_UNTIL_ASLEEP(process_state(child));
    type(pair.master, "\x03");
    show_end("reader", child);
    show_caught();
}

static void hung_up(void) {
    take_terminal();
    catch_signal(SIGHUP), catch_signal(SIGCONT);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        memset(caught, 0, sizeof caught);
        close(pair.master);
        char byte;
        errno = 0;
        SHOW(read(pair.slave, &byte, 1));
        show_caught();
        show_stat();
        SHOW(write(pair.slave, "x", 1));
        SHOW(open("/dev/tty", O_RDWR));
        exit(0);
    }
    WAIT_UNTIL_ASLEEP(process_state(child));
    close(pair.master);
    WAIT_UNTIL(caught[SIGHUP] && caught[SIGCONT]);
    show_end("reader", child);
    show_caught();
    show_stat();
}

// The child of a leader that has ended goes on when the parent of that has seen it.
static int ready[2], go[2];

static void leader_ends(void) {
    take_terminal();
    close(go[1]);
    pid_t leader = getpid();
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        catch_signal(SIGHUP), catch_signal(SIGCONT);
        NEED(write(ready[1], "x", 1) == 1);
        char byte;
        while (read(go[0], &byte, 1) == -1 && errno == EINTR) {
        }
        WAIT_UNTIL(caught[SIGHUP]);
        show_caught();
        WAIT_UNTIL(getppid() != leader);
        int number, group;
        WAIT_UNTIL((terminal_in_stat(&number, &group), number == 0));
        show_stat();
        SHOW(tcgetpgrp(pair.slave));
        SHOW(write(pair.slave, "still open", 10));
        exit(0);
    }
    char byte;
    NEED(read(ready[0], &byte, 1) == 1);
    // The child is in the foreground, with the leader's group.
}

static void giving_up(void) {
    take_terminal();
    catch_signal(SIGHUP), catch_signal(SIGCONT);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        // Only this process loses it.
        SHOW(ioctl(pair.slave, TIOCNOTTY));
        show_stat();
        SHOW(ioctl(pair.slave, TIOCNOTTY));
        show_caught();
        exit(0);
    }
    show_end("child", child);
    show_stat();
    SHOW(ioctl(pair.slave, TIOCNOTTY));
    WAIT_UNTIL(caught[SIGHUP] && caught[SIGCONT]);
    show_caught();
    show_stat();
    SHOW(ioctl(pair.slave, TIOCSCTTY, 0));
    show_stat();
}

// Runs `body` in a group of its own, which is not in the foreground; shows what stops it, lets it go on in the foreground, and
// shows its end.
static void in_background(const char *what, void (*body)(void), bool goes_on) {
    printf("-- %s\n", what);
    int ready[2];
    NEED(pipe(ready) == 0);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        NEED(setpgid(0, 0) == 0);
        body();
        exit(0);
    }
    setpgid(child, child);
    int status;
    NEED(waitpid(child, &status, WUNTRACED) == child);
    if (WIFSTOPPED(status)) {
        printf("stopped by SIG%s\n", sigabbrev_np(WSTOPSIG(status)));
        if (goes_on)
            NEED(tcsetpgrp(pair.slave, child) == 0);
        NEED(kill(child, goes_on ? SIGCONT : SIGKILL) == 0);
        show_end(what, child);
        signal(SIGTTOU, SIG_IGN);
        NEED(tcsetpgrp(pair.slave, getpgrp()) == 0);
        signal(SIGTTOU, SIG_DFL);
    } else
        printf("not stopped, status %d\n", WEXITSTATUS(status));
}

static void reads(void) { show_read("read", pair.slave, 100); }
static void reads_ignoring(void) {
    signal(SIGTTIN, SIG_IGN);
    show_read("read", pair.slave, 100);
}
static void writes(void) { SHOW(write(pair.slave, "text!", 5)); }
static void writes_ignoring(void) {
    signal(SIGTTOU, SIG_IGN);
    SHOW(write(pair.slave, "text!", 5));
}
static void changes(void) {
    struct termios modes;
    SHOW(tcgetattr(pair.slave, &modes));
    SHOW(tcsetattr(pair.slave, TCSANOW, &modes));
}
static void flushes(void) { SHOW(tcflush(pair.slave, TCIFLUSH)); }
static void takes_foreground(void) {
    SHOW(tcsetpgrp(pair.slave, getpgrp()));
    SHOW(tcgetpgrp(pair.slave) == getpgrp());
}
static void of_master(void) {
    struct termios modes;
    SHOW(tcgetattr(pair.master, &modes));
    SHOW(tcsetattr(pair.master, TCSANOW, &modes));
    SHOW(write(pair.master, "", 0));
}

static void background(void) {
    take_terminal();
    type(pair.master, "typed\n");
    await(pair.slave, POLLIN);
    in_background("read", reads, true);
    in_background("read, SIGTTIN ignored", reads_ignoring, true);
    in_background("write", writes, true);
    struct termios modes;
    NEED(tcgetattr(pair.slave, &modes) == 0);
    modes.c_lflag |= TOSTOP;
    NEED(tcsetattr(pair.slave, TCSANOW, &modes) == 0);
    in_background("write, TOSTOP", writes, true);
    in_background("write, TOSTOP, SIGTTOU ignored", writes_ignoring, true);
    in_background("tcsetattr", changes, true);
    in_background("tcsetattr, killed", changes, false);
    in_background("tcflush", flushes, true);
    in_background("tcsetpgrp", takes_foreground, true);
    in_background("the master", of_master, true);
    SHOW(tcsetpgrp(pair.slave, -1));
    SHOW(tcsetpgrp(pair.slave, 0x7ffffff0));
    SHOW(tcsetpgrp(pair.slave, getppid()) == -1 && (errno == EPERM || errno == ESRCH));
    SHOW(tcsetpgrp(pair.master, getpgrp()));
}

// A reader in a group that is orphaned gets EIO.
static void orphan(void) {
    take_terminal();
    int done[2], killed[2];
    NEED(pipe(done) == 0 && pipe(killed) == 0);
    pid_t middle = fork();
    NEED(middle >= 0);
    if (middle == 0) {
        if (fork() == 0) {
            NEED(setpgid(0, 0) == 0);
            pid_t parent = getppid();
            NEED(write(done[1], "x", 1) == 1);
            WAIT_UNTIL(getppid() != parent);
            char byte;
            NEED(read(killed[0], &byte, 1) == 1);
            show_read("orphan", pair.slave, 100);
            NEED(write(done[1], "y", 1) == 1);
            exit(0);
        }
        pause();
    }
    char byte;
    NEED(read(done[0], &byte, 1) == 1);
    NEED(kill(middle, SIGKILL) == 0);
    show_end("parent", middle);
    NEED(write(killed[1], "x", 1) == 1);
    NEED(read(done[0], &byte, 1) == 1);
}

int main(void) {
    // Orphans of the sessions below are this process's children.
    NEED(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    in_session("opening", opening);
    in_session("keys", keys);
    in_session("hang-up", hung_up);
    NEED(pipe(ready) == 0 && pipe(go) == 0);
    in_session("the leader ends", leader_ends);
    close(go[1]);
    while (wait(NULL) > 0) {
    }
    in_session("giving it up", giving_up);
    in_session("background", background);
    in_session("orphan", orphan);
    DONE();
}
