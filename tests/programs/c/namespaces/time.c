// Time namespaces (time_namespaces(7)): who enters a new one and when, offsets and what may be written, clocks with and without the vDSO,
// absolute times of sleeps, timers and futexes, /proc, setns and exec.
// args: start
#include "t.h"
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/sysinfo.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
enum { DAY = 86400, SLACK = 600 };

static struct timespec before[16];

static int64_t now(clockid_t clock) {
    struct timespec t;
    NEED(clock_gettime(clock, &t) == 0);
    return t.tv_sec;
}
static int64_t by_call(clockid_t clock) {
    struct timespec t;
    NEED(syscall(SYS_clock_gettime, clock, &t) == 0);
    return t.tv_sec;
}
// By how many days a clock differs from what it showed outside.
static int days(int64_t shown, clockid_t clock) {
    return (int)((shown - before[clock].tv_sec + DAY / 2 + 1000LL * DAY) / DAY) - 1000;
}
static void show_clocks(const char *who) {
    clockid_t all[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME};
    printf("%s:", who);
    for (int i = 0; i < 5; i++)
        printf(" %d %d", days(now(all[i]), all[i]), days(by_call(all[i]), all[i]));
    double up, idle;
    FILE *file = fopen("/proc/uptime", "r");
    NEED(file && fscanf(file, "%lf %lf", &up, &idle) == 2);
    fclose(file);
    struct sysinfo info;
    NEED(sysinfo(&info) == 0);
    printf(", uptime %d %d\n", days(up, CLOCK_BOOTTIME), days(info.uptime, CLOCK_BOOTTIME));
}
static ino_t space(const char *name) {
    struct stat st;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/ns/%s", name);
    NEED(stat(path, &st) == 0);
    return st.st_ino;
}
static int put(const char *text) {
    int fd = open("/proc/self/timens_offsets", O_WRONLY);
    NEED(fd >= 0);
    int n = write(fd, text, strlen(text)), error = errno;
    close(fd);
    errno = error;
    return n;
}
static void show_offsets(void) {
    char text[256] = "";
    int fd = open("/proc/self/timens_offsets", O_RDONLY);
    NEED(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    printf("%s", text);
}
static void until(int status) {
    int s;
    NEED(wait(&s) > 0);
    NEED(s == status);
}
// Absolute times: in the past they end at once, in the future they don't, whatever the first namespace shows.
static void absolute(void) {
    struct timespec past, future, short_time = {0, 1000000};
    NEED(clock_gettime(CLOCK_MONOTONIC, &past) == 0);
    future = past;
    future.tv_sec += 10000;
    SHOW(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &past, NULL));
    past.tv_nsec = (past.tv_nsec + 20000000) % 1000000000;
    SHOW(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &past, NULL));
    SHOW(nanosleep(&short_time, NULL));
    for (int i = 0; i < 2; i++) {
        clockid_t clock = i ? CLOCK_BOOTTIME : CLOCK_MONOTONIC;
        int fd = timerfd_create(clock, TFD_NONBLOCK);
        struct itimerspec at = {0}, left;
        NEED(clock_gettime(clock, &at.it_value) == 0);
        at.it_value.tv_sec += 10000;
        SHOW(timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL));
        SHOW(timerfd_gettime(fd, &left));
        SHOW(left.it_value.tv_sec > 10000 - SLACK && left.it_value.tv_sec <= 10000);
        uint64_t count;
        SHOW(read(fd, &count, 8));
        at.it_value.tv_sec -= 10001;
        SHOW(timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL));
        struct pollfd p = {fd, POLLIN, 0};
        SHOW(poll(&p, 1, -1));
        SHOW(read(fd, &count, 8));
        close(fd);
        timer_t timer;
        struct sigevent quiet = {.sigev_notify = SIGEV_NONE};
        NEED(timer_create(clock, &quiet, &timer) == 0);
        at.it_value.tv_sec += 10001;
        SHOW(timer_settime(timer, TIMER_ABSTIME, &at, NULL));
        SHOW(timer_gettime(timer, &left));
        SHOW(left.it_value.tv_sec > 10000 - SLACK && left.it_value.tv_sec <= 10000);
        NEED(timer_delete(timer) == 0);
    }
    int word = 0;
    SHOW(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, &past, NULL, FUTEX_BITSET_MATCH_ANY));
    // One that would wait for hours if the time were taken as the first namespace's.
    alarm(0);
}

int main(int argc, char **argv) {
    if (argc > 2) {
        for (int i = 0; i < 16; i++)
            before[i].tv_sec = atoll(argv[3 + i]);
        show_clocks(argv[2]);
        absolute();
        return 0;
    }
    for (int i = 0; i < 12; i++)
        clock_gettime(i, &before[i]);
    show_clocks("outside");
    int first = open("/proc/self/ns/time", O_RDONLY);
    NEED(first >= 0);
    show_offsets();
    SHOW(put("monotonic 1 0"));
    ino_t own = space("time");
    SHOW(unshare(CLONE_NEWTIME));
    SHOW(space("time") == own);
    SHOW(space("time_for_children") == own);
    show_offsets();
    SHOW(put("monotonic 864000 5"));
    SHOW(put("7 1728000 0\n1 864000 7\n"));
    show_offsets();
    SHOW(put("boottime -1000000000 0"));
    SHOW(put("monotonic 9223372036854775807 0"));
    SHOW(put("  monotonic\t864000  7 and more"));
    SHOW(put("monotonic864000 8"));
    SHOW(put("monotonic 864000 9x"));
    show_offsets();
    SHOW(put("monotonic 1x 0"));
    SHOW(put("monotonic 864000 0\n\n"));
    SHOW(put("\nmonotonic 864000 0"));
    SHOW(put("monotonic 864000 0\n1 864000"));
    SHOW(put("monotonic 1 1000000000"));
    SHOW(put("monotonic 1 -1"));
    SHOW(put("monotonic 1"));
    SHOW(put("realtime 1 0"));
    SHOW(put("monotonic 864000 0"));
    show_offsets();
    show_clocks("still outside");
    fflush(stdout);
    // A child is in it, and from then on it stays as it is.
    if (fork() == 0) {
        SHOW(space("time") == space("time_for_children"));
        SHOW(space("time") != own);
        show_clocks("child");
        absolute();
        SHOW(put("monotonic 1 0"));
        fflush(stdout);
        // So is what it makes, and what it executes.
        if (fork() == 0) {
            show_clocks("grandchild");
            // A new one begins with the same offsets.
            SHOW(unshare(CLONE_NEWTIME));
            show_offsets();
            SHOW(put("boottime 864000 0"));
            fflush(stdout);
            if (fork() == 0) {
                show_clocks("its child");
                _exit(0);
            }
            until(0);
            // Back to the first.
            static volatile int refused;
            // A child that runs in its maker's memory can't.
            pid_t child = vfork();
            if (child == 0) {
                refused = setns(first, CLONE_NEWTIME) == -1 ? errno : 0;
                _exit(0);
            }
            until(0);
            SHOW(refused == EUSERS);
            SHOW(setns(first, CLONE_NEWTIME));
            SHOW(space("time") == own);
            SHOW(space("time_for_children") == own);
            show_clocks("back");
            fflush(stdout);
            if (fork() == 0) {
                show_clocks("child of that");
                _exit(0);
            }
            until(0);
            _exit(0);
        }
        until(0);
        char texts[16][24];
        char *args[20] = {argv[0], argv[1], "executed"};
        for (int i = 0; i < 16; i++) {
            snprintf(texts[i], sizeof texts[i], "%lld", (long long)before[i].tv_sec);
            args[3 + i] = texts[i];
        }
        execv("/proc/self/exe", args);
        _exit(1);
    }
    until(0);
    SHOW(put("monotonic 1 0"));
    show_clocks("outside");
    // Without rights.
    fflush(stdout);
    if (fork() == 0) {
        NEED(setgid(1000) == 0 && setuid(1000) == 0);
        SHOW(unshare(CLONE_NEWTIME));
        SHOW(setns(first, CLONE_NEWTIME));
        _exit(0);
    }
    until(0);
    DONE();
}
