// POSIX message queues (mq_overview(7)): names, rights and bounds, the order of messages, waits, and notification.
// machines: all
#include "t.h"
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

static char name[64], other[64];
static char text[8193];

static void send_text(mqd_t queue, const char *what, unsigned priority) {
    CHECK(mq_send(queue, what, strlen(what) + 1, priority) == 0);
}

static void get(mqd_t queue) {
    unsigned priority = 99;
    errno = 0;
    long got = mq_receive(queue, text, sizeof text, &priority);
    if (got < 0)
        printf("receive: %s\n", t_errno(errno));
    else
        printf("receive: %ld \"%s\" of priority %u\n", got, text, priority);
}

static void show(mqd_t queue) {
    struct mq_attr a;
    CHECK(mq_getattr(queue, &a) == 0);
    printf("flags %#lo, %ld messages of %ld bytes, now %ld\n", a.mq_flags, a.mq_maxmsg, a.mq_msgsize, a.mq_curmsgs);
}

static mqd_t make(long messages, long bytes) {
    struct mq_attr a = {.mq_maxmsg = messages, .mq_msgsize = bytes};
    return mq_open(other, O_CREAT | O_EXCL | O_RDWR, 0600, &a);
}

static struct timespec in_ms(long ms) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_nsec += ms * 1000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    return at;
}

static void names(void) {
    char longest[300] = "/";
    memset(longest + 1, 'n', 255);
    SHOW(mq_open(name, O_RDWR));
    SHOW(mq_unlink(name));
    // The C library takes the first slash away.
    SHOW(syscall(SYS_mq_open, "", O_RDWR | O_CREAT, 0600, NULL));
    SHOW(syscall(SYS_mq_open, "/slash", O_RDWR | O_CREAT, 0600, NULL));
    SHOW(syscall(SYS_mq_open, "a/b", O_RDWR | O_CREAT, 0600, NULL));
    SHOW(syscall(SYS_mq_open, "..", O_RDWR | O_CREAT, 0600, NULL));
    SHOW(syscall(SYS_mq_open, (char *)8, O_RDWR | O_CREAT, 0600, NULL));
    SHOW(syscall(SYS_mq_open, "x", O_RDWR | O_CREAT, 0600, (void *)8));
    mqd_t queue = mq_open(longest, O_RDWR | O_CREAT, 0600, NULL);
    CHECK(queue >= 0);
    CHECK(mq_unlink(longest) == 0 && mq_close(queue) == 0);
    longest[256] = 'n';
    SHOW(mq_open(longest, O_RDWR | O_CREAT, 0600, NULL));
    SHOW(mq_unlink(longest));
}

// The lowest RLIMIT_MSGQUEUE with which such a queue can be made: what the user's queues take, and this one.
static long lowest_limit(long messages, long bytes) {
    struct rlimit old;
    CHECK(getrlimit(RLIMIT_MSGQUEUE, &old) == 0);
    long low = 0, high = old.rlim_cur;
    while (low < high) {
        struct rlimit limit = {(low + high) / 2, old.rlim_max};
        CHECK(setrlimit(RLIMIT_MSGQUEUE, &limit) == 0);
        mqd_t queue = make(messages, bytes);
        if (queue >= 0) {
            CHECK(mq_unlink(other) == 0 && mq_close(queue) == 0);
            high = limit.rlim_cur;
        } else {
            CHECK(errno == EMFILE);
            low = limit.rlim_cur + 1;
        }
    }
    CHECK(setrlimit(RLIMIT_MSGQUEUE, &old) == 0);
    return low;
}

static void bounds(void) {
    SHOW(make(0, 8));
    SHOW(make(-1, 8));
    SHOW(make(8, 0));
    SHOW(make(1, LONG_MAX));
    SHOW(make(LONG_MAX, 1));
    SHOW(lowest_limit(10, 8192) - lowest_limit(1, 1));
    SHOW(lowest_limit(10, 1) - lowest_limit(9, 1));
    mqd_t one = make(3, 4);
    CHECK(one >= 0 && mq_unlink(other) == 0);
    long with_it = lowest_limit(1, 1);
    mq_close(one);
    SHOW(with_it - lowest_limit(1, 1));
}

static void order(void) {
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0620, NULL);
    NEED(queue >= 0);
    show(queue);
    SHOW(mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, NULL));
    SHOW(syscall(SYS_mq_open, name + 1, 3, 0, NULL));
    SHOW(fcntl(queue, F_GETFD) == FD_CLOEXEC);
    SHOW(fcntl(queue, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
    struct stat st;
    CHECK(fstat(queue, &st) == 0);
    printf("mode %o, size %ld, %ld links\n", st.st_mode, (long)st.st_size, (long)st.st_nlink);

    send_text(queue, "low", 0);
    send_text(queue, "high", 5);
    send_text(queue, "highest", 32767);
    send_text(queue, "high again", 5);
    send_text(queue, "", 5);
    show(queue);
    struct pollfd p = {.fd = queue, .events = POLLIN | POLLOUT};
    SHOW(poll(&p, 1, 0));
    SHOW(p.revents == (POLLIN | POLLOUT));
    char line[128];
    long got = pread(queue, line, sizeof line - 1, 0);
    CHECK(got > 0);
    line[got > 0 ? got : 0] = 0;
    printf("%s", line);
    SHOW(write(queue, "x", 1));
    SHOW(mq_receive(queue, text, 8191, NULL));
    for (int i = 0; i < 5; i++)
        get(queue);
    SHOW(mq_send(queue, text, 8193, 0));
    SHOW(mq_send(queue, text, 1, 32768));
    SHOW(mq_send(queue, (char *)8, 1, 0));
    SHOW(mq_send(queue, text, 8192, 0));
    SHOW(mq_receive(queue, text, sizeof text, NULL));
    SHOW(mq_send(1, text, 1, 0));
    SHOW(mq_receive(1, text, sizeof text, NULL));
    SHOW(mq_send(-1, text, 1, 0));

    // What is open goes on without a name, and a new queue may have it.
    mqd_t reader = mq_open(name, O_RDONLY | O_NONBLOCK), writer = mq_open(name, O_WRONLY | O_NONBLOCK);
    CHECK(reader >= 0 && writer >= 0);
    CHECK(mq_unlink(name) == 0);
    SHOW(mq_open(name, O_RDONLY));
    SHOW(mq_send(reader, "x", 1, 0));
    SHOW(mq_receive(writer, text, sizeof text, NULL));
    get(reader);
    for (int i = 0; i < 10; i++)
        send_text(writer, "many", i % 3);
    SHOW(mq_send(writer, "x", 1, 0));
    SHOW(poll(&p, 1, 0));
    SHOW(p.revents == POLLIN);
    struct mq_attr none = {.mq_flags = 0}, old, wrong = {.mq_flags = 1};
    SHOW(mq_setattr(writer, &wrong, &old));
    SHOW(mq_setattr(writer, &none, &old));
    SHOW(old.mq_flags == O_NONBLOCK);
    show(writer);
    CHECK(fstat(queue, &st) == 0);
    SHOW(st.st_nlink);
    mq_close(queue), mq_close(reader), mq_close(writer);
}

static void nothing(int signal) { (void)signal; }

static void *receive_one(void *queue) {
    char mine[8192];
    unsigned priority;
    long got = mq_receive(*(mqd_t *)queue, mine, sizeof mine, &priority);
    printf("a thread receives %ld of priority %u\n", got, priority);
    return NULL;
}

static bool is_asleep(int thread) {
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
    int fd = open(path, O_RDONLY);
    if (fd >= 0 && read(fd, line, sizeof line - 1) > 0)
        close(fd);
    char *end = strrchr(line, ')');
    return end && end[2] == 'S';
}

static int other_thread(void) {
    for (;;) {
        // The thread with another id than ours.
        for (int tid = getpid() + 1; tid < getpid() + 200; tid++) {
            char path[64];
            snprintf(path, sizeof path, "/proc/self/task/%d", tid);
            if (access(path, F_OK) == 0)
                return tid;
        }
    }
}

static void waits(void) {
    mqd_t queue = make(1, 8);
    NEED(queue >= 0);
    CHECK(mq_unlink(other) == 0);
    struct timespec past = {1, 0}, bad = {0, 1000000000}, soon = in_ms(20);
    SHOW(mq_timedreceive(queue, text, 8, NULL, &past));
    SHOW(mq_timedreceive(queue, text, 8, NULL, &bad));
    SHOW(mq_timedreceive(queue, text, 8, NULL, &soon));
    SHOW(mq_timedsend(queue, "x", 1, 0, &past));
    SHOW(mq_timedsend(queue, "x", 1, 0, &past));
    soon = in_ms(20);
    SHOW(mq_timedsend(queue, "x", 1, 0, &soon));
    SHOW(mq_timedreceive(queue, text, 8, NULL, &past));

    // A handler without SA_RESTART ends a wait, one with it does not.
    struct sigaction action = {.sa_handler = nothing};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {.it_interval = {0, 20000}, .it_value = {0, 20000}}, off = {0};
    setitimer(ITIMER_REAL, &timer, NULL);
    SHOW(mq_receive(queue, text, 8, NULL));
    setitimer(ITIMER_REAL, &off, NULL);
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    soon = in_ms(100);
    SHOW(mq_timedreceive(queue, text, 8, NULL, &soon));
    setitimer(ITIMER_REAL, &off, NULL);

    // What waits for a message gets it, and the queue stays empty.
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, receive_one, &queue) == 0);
    int tid = other_thread();
    while (!is_asleep(tid))
        sched_yield();
    CHECK(mq_send(queue, "seven b", 7, 7) == 0);
    struct mq_attr at_once;
    CHECK(mq_getattr(queue, &at_once) == 0);
    pthread_join(thread, NULL);
    SHOW(at_once.mq_curmsgs);
    mq_close(queue);
}

static int told;
static volatile sig_atomic_t value, code, of_us;

static void on_message(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    value = info->si_value.sival_int, code = info->si_code, of_us = info->si_pid == getpid();
    told++;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int called;

static void on_thread(union sigval argument) {
    pthread_mutex_lock(&lock);
    called = argument.sival_int;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void notification(void) {
    mqd_t queue = make(10, 8);
    NEED(queue >= 0);
    CHECK(mq_unlink(other) == 0);
    struct sigaction action = {.sa_sigaction = on_message, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 42};
    struct sigevent wrong = {.sigev_notify = 77}, wrong_signal = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65};
    SHOW(mq_notify(queue, &wrong));
    SHOW(mq_notify(queue, &wrong_signal));
    SHOW(mq_notify(1, &event));
    SHOW(mq_notify(queue, NULL));
    SHOW(mq_notify(queue, &event));
    SHOW(mq_notify(queue, &event));
    if (fork() == 0) {
        SHOW(mq_notify(queue, &event));
        SHOW(mq_notify(queue, NULL));
        // Not the one that is registered: nothing changes.
        mq_close(queue);
        exit(0);
    }
    wait(NULL);
    send_text(queue, "one", 0);
    printf("told %d, value %d, by SI_MESGQ %d, of us %d\n", told, value, code == SI_MESGQ, of_us);
    // Once only, and only if the queue was empty.
    SHOW(mq_notify(queue, &event));
    send_text(queue, "two", 0);
    SHOW(told);
    get(queue), get(queue);
    send_text(queue, "three", 0);
    SHOW(told);
    get(queue);
    // A closed descriptor ends it, whichever it is.
    SHOW(mq_notify(queue, &event));
    close(dup(queue));
    send_text(queue, "four", 0);
    SHOW(told);
    get(queue);
    // So does the end of a process.
    int child = fork();
    if (child == 0) {
        SHOW(mq_notify(queue, &event));
        exit(0);
    }
    wait(NULL);
    SHOW(mq_notify(queue, &event));
    SHOW(mq_notify(queue, NULL));
    // Nothing is done, but it is taken.
    event.sigev_notify = SIGEV_NONE;
    SHOW(mq_notify(queue, &event));
    send_text(queue, "five", 0);
    SHOW(mq_notify(queue, &event));
    SHOW(mq_notify(queue, NULL));
    get(queue);

    struct sigevent thread = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_thread, .sigev_value.sival_int = 9};
    SHOW(mq_notify(queue, &thread));
    send_text(queue, "six", 0);
    pthread_mutex_lock(&lock);
    while (!called)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    SHOW(called);
    mq_close(queue);
}

int main(void) {
    snprintf(name, sizeof name, "/coracle-%d", getpid());
    snprintf(other, sizeof other, "/coracle-other-%d", getpid());
    umask(022);
    names();
    bounds();
    order();
    waits();
    notification();
    DONE();
}
