// Threads that wait for and wake each other by futexes, signals and timers at once.
// machines: all
// flags: -pthread
#include "stress.h"
#include <linux/futex.h>
#include <sys/time.h>

// Linux lets a timer that goes off more often than its signal is handled starve the program.
enum { REST_NS = 2000000 };

static int *words;
static timer_t timers[4];
static pthread_t main_thread;

static void nothing(int signal) { (void)signal; }

static void stress_step(unsigned thread) {
    int *word = words + 1024 * below(4), *other = words + 1024 * below(4);
    struct timespec time = {0, below(200000)};
    unsigned private = below(2) ? FUTEX_PRIVATE_FLAG : 0;
    switch (below(12)) {
    case 0:
    case 1: syscall(SYS_futex, word, FUTEX_WAIT | private, 0, &time, NULL, 0); break;
    case 2: syscall(SYS_futex, word, FUTEX_WAKE | private, below(5), NULL, NULL, 0); break;
    case 3: syscall(SYS_futex, word, FUTEX_CMP_REQUEUE | private, 1, (void *)5, other, 0); break;
    case 4:
        mmap(word, 4096, PROT_READ | PROT_WRITE, (below(2) ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        break;
    case 5: pthread_kill(below(2) ? pthread_self() : main_thread, SIGUSR1); break;
    case 6: kill(getpid(), SIGUSR2); break;
    case 7: sigqueue(getpid(), SIGRTMIN + (int)below(4), (union sigval){0}); break;
    case 8: {
        struct itimerspec spec = {{0, REST_NS + below(100000)}, {0, below(100000)}}, old;
        timer_settime(timers[thread], 0, &spec, &old);
        timer_getoverrun(timers[below(4)]);
        break;
    }
    case 9: {
        struct itimerval interval = {{0, REST_NS / 1000 + below(1000)}, {0, below(100)}};
        setitimer(ITIMER_REAL, &interval, NULL);
        break;
    }
    case 10: nanosleep(&time, NULL); break;
    case 11: {
        sigset_t set;
        siginfo_t info;
        sigemptyset(&set);
        sigaddset(&set, SIGRTMIN + (int)below(4));
        sigtimedwait(&set, &info, &time);
        break;
    }
    }
}

int main(void) {
    words = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    main_thread = pthread_self();
    const int handled[] = {SIGUSR1, SIGUSR2, SIGALRM, SIGRTMIN, SIGRTMIN + 1, SIGRTMIN + 2, SIGRTMIN + 3};
    for (unsigned i = 0; i < sizeof handled / sizeof *handled; i++)
        signal(handled[i], nothing);
    for (int i = 0; i < 4; i++) {
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + i};
        NEED(timer_create(CLOCK_MONOTONIC, &event, &timers[i]) == 0);
    }
    stress();
    DONE();
}
