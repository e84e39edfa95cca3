// A signal that ends a process has ended it when it is sent: no thread of it is back in the program, not even the sender,
// whichever thread would take the signal. One that is blocked, or sent while the process is stopped, waits.
// machines: all
#include "t.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { THREADS = 3 };

// In memory that parent and child share.
static struct shared {
    int ready;
    int returned; // The call that sent the signal has returned.
    int went_on;
} *shared;

static void block(int how, int signal) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    NEED(pthread_sigmask(how, &set, NULL) == 0);
}

static int fatal; // The signal.
static long taker_tid;

// Accepts the signal, and sleeps.
static void *taker(void *unused) {
    block(SIG_UNBLOCK, fatal);
    taker_tid = syscall(SYS_gettid);
    for (;;)
        pause();
    return unused;
}

// Doesn't, and sleeps in the other kind of sleep, which no other signal interrupts.
static void *in_vfork(void *unused) {
    if (vfork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        shared->ready = 1;
        for (;;)
            pause();
    }
    shared->went_on = 1;
    return unused;
}

static pid_t start(void (*child)(void)) {
    *shared = (struct shared){0};
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        child();
        _exit(0);
    }
    return pid;
}

static void show_end(const char *what, pid_t pid) {
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    printf("%s: killed %d by %s; returned %d, went on %d\n", what, WIFSIGNALED(status),
           WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "none", shared->returned, shared->went_on);
}

// The signal is for another thread, for the sender blocks it.
static void send_from_another(void) {
    pthread_t t;
    block(SIG_BLOCK, fatal);
    for (int i = 0; i < THREADS; i++)
        NEED(pthread_create(&t, NULL, taker, NULL) == 0);
    WAIT_UNTIL(taker_tid);
    kill(getpid(), fatal);
    shared->returned = 1;
}

static void send_to_thread(void) {
    pthread_t t;
    block(SIG_BLOCK, fatal);
    NEED(pthread_create(&t, NULL, taker, NULL) == 0);
    WAIT_UNTIL(taker_tid);
    syscall(SYS_tgkill, getpid(), taker_tid, fatal);
    shared->returned = 1;
}

static void send_while_in_vfork(void) {
    pthread_t t;
    NEED(pthread_create(&t, NULL, taker, NULL) == 0);
    block(SIG_BLOCK, fatal);
    NEED(pthread_create(&t, NULL, in_vfork, NULL) == 0);
    WAIT_UNTIL(taker_tid && shared->ready);
    kill(getpid(), fatal);
    shared->returned = 1;
}

// Blocked by all, it waits until a thread unblocks it.
static void blocked_by_all(void) {
    block(SIG_BLOCK, fatal);
    kill(getpid(), fatal);
    shared->returned = 1;
    block(SIG_UNBLOCK, fatal);
    shared->went_on = 1;
}

// To wait for a signal keeps it from ending the process only if it is blocked.
static void wait_unblocked(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, fatal);
    shared->ready = 1;
    int got;
    sigwait(&set, &got);
    shared->went_on = 1;
}

static void wait_blocked(void) {
    block(SIG_BLOCK, fatal);
    wait_unblocked();
}

// A first status counts.
static void end_twice(void) {
    block(SIG_BLOCK, fatal);
    pthread_t t;
    NEED(pthread_create(&t, NULL, taker, NULL) == 0);
    WAIT_UNTIL(taker_tid);
    kill(getpid(), fatal);
    _exit(3);
}

static void stop_self(void) {
    kill(getpid(), SIGSTOP);
    shared->went_on = 1;
}

int main(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(shared != MAP_FAILED);
    int signals[] = {SIGTERM, SIGHUP, SIGALRM, SIGPIPE, SIGRTMIN + 2};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        fatal = signals[i];
        // A program that is started with nohup ignores SIGHUP.
        signal(fatal, SIG_DFL);
        show_end("to the process", start(send_from_another));
        show_end("to a thread", start(send_to_thread));
        show_end("beside vfork", start(send_while_in_vfork));
        show_end("blocked", start(blocked_by_all));
        show_end("sent before an exit", start(end_twice));

        pid_t pid = start(wait_unblocked);
        WAIT_UNTIL(shared->ready);
        WAIT_UNTIL_ASLEEP(process_state(pid));
        SHOW(kill(pid, fatal));
        show_end("waited for, unblocked", pid);
        pid = start(wait_blocked);
        WAIT_UNTIL(shared->ready);
        WAIT_UNTIL_ASLEEP(process_state(pid));
        SHOW(kill(pid, fatal));
        show_end("waited for, blocked", pid);

        pid = start(stop_self);
        NEED(waitpid(pid, NULL, WUNTRACED) == pid);
        SHOW(kill(pid, fatal));
        SHOW(waitpid(pid, NULL, WNOHANG));
        SHOW(process_state(pid) == 'T');
        SHOW(kill(pid, SIGCONT));
        show_end("stopped", pid);
    }
    DONE();
}
