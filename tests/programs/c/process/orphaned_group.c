// A process group that is orphaned while one of it is stopped gets SIGHUP and then SIGCONT (_exit(2), POSIX.1-2017, "Consequences
// of Process Termination"); without a stopped process it gets nothing. Its processes are not stopped by SIGTSTP any more.
// machines: all
#include "t.h"
#include <sys/wait.h>

static int out[2];

static void say(const char *text) { NEED(write(out[1], text, strlen(text)) == (ssize_t)strlen(text)); }

static void on_signal(int signal) { say(signal == SIGHUP ? "H" : signal == SIGCONT ? "C" : "T"); }

static void catch_all(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    NEED(sigaction(SIGHUP, &action, NULL) == 0 && sigaction(SIGCONT, &action, NULL) == 0);
    NEED(sigaction(SIGTERM, &action, NULL) == 0);
}

static void expect(char wanted) {
    char byte = 0;
    NEED(read(out[0], &byte, 1) == 1);
    printf("%c", byte);
    CHECK(byte == wanted);
}

// The child of a leader of a group of its own, which ends when it is told by a byte in `go`. Returns the grandchild.
static pid_t family(pid_t *leader, int go[2], void (*grandchild)(void)) {
    int number[2];
    NEED(pipe(number) == 0 && pipe(go) == 0);
    *leader = fork();
    NEED(*leader >= 0);
    if (*leader == 0) {
        NEED(setpgid(0, 0) == 0);
        pid_t child = fork();
        NEED(child >= 0);
        if (child == 0) {
            catch_all();
            grandchild();
            for (;;)
                pause();
        }
        NEED(write(number[1], &child, sizeof child) == sizeof child);
        char byte;
        NEED(read(go[0], &byte, 1) == 1);
        _exit(0);
    }
    pid_t child;
    NEED(read(number[0], &child, sizeof child) == sizeof child);
    NEED(close(number[0]) == 0 && close(number[1]) == 0);
    return child;
}

static void stop(void) {
    say("S");
    raise(SIGSTOP);
}

static void run(void) { say("R"); }

static void end(pid_t leader, int go[2]) {
    NEED(write(go[1], "x", 1) == 1);
    NEED(waitpid(leader, NULL, 0) == leader);
    NEED(close(go[0]) == 0 && close(go[1]) == 0);
}

// What the leader of a session sees of the groups of its children.
static int session(void) {
    NEED(setsid() >= 0 && pipe(out) == 0);
    int go[2];
    pid_t leader, child = family(&leader, go, stop);
    expect('S');
    WAIT_UNTIL(process_state(child) == 'T');
    end(leader, go);
    // The end of the leader was that of the only connection. Which handler runs first is the system's to say.
    char both[3] = {0};
    for (int i = 0; i < 2; i++)
        NEED(read(out[0], &both[i], 1) == 1);
    CHECK((both[0] == 'H' && both[1] == 'C') || (both[0] == 'C' && both[1] == 'H'));
    puts(" was hung up and continued");
    // Nothing could let it go on: the stop of a terminal is ignored, SIGSTOP is not.
    NEED(kill(child, SIGTSTP) == 0 && kill(child, SIGTERM) == 0);
    expect('T');
    puts(" was not stopped");
    NEED(kill(child, SIGKILL) == 0);

    // Nothing is stopped: no signal.
    child = family(&leader, go, run);
    expect('R');
    end(leader, go);
    NEED(kill(child, SIGTERM) == 0);
    expect('T');
    puts(" got nothing else");
    NEED(kill(child, SIGKILL) == 0);

    // A second process keeps the group connected: its parent is this one.
    child = family(&leader, go, stop);
    expect('S');
    WAIT_UNTIL(process_state(child) == 'T');
    pid_t keeper = fork();
    NEED(keeper >= 0);
    if (keeper == 0)
        for (;;)
            pause();
    NEED(setpgid(keeper, leader) == 0);
    end(leader, go);
    CHECK(process_state(child) == 'T');
    NEED(kill(keeper, SIGKILL) == 0 && waitpid(keeper, NULL, 0) == keeper);
    for (int i = 0; i < 2; i++)
        NEED(read(out[0], &both[i], 1) == 1);
    CHECK((both[0] == 'H' && both[1] == 'C') || (both[0] == 'C' && both[1] == 'H'));
    puts(" was hung up when its last connection ended");
    NEED(kill(child, SIGKILL) == 0);
    fflush(stdout);
    return t_failures;
}

int main(void) {
    pid_t leader = fork();
    NEED(leader >= 0);
    if (leader == 0)
        _exit(session());
    int status;
    NEED(waitpid(leader, &status, 0) == leader);
    SHOW(status);
    return status != 0;
}
