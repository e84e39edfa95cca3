// perf_event_open(2): software events of a thread, of its children and of groups; what is read of them; the calls of ioctl(2), and errors.
// linux: no
// stdout-has: done
// machines: all
#include "t.h"
#include <linux/perf_event.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

static int event_open(struct perf_event_attr *attr, pid_t pid, int cpu, int group, unsigned long flags) {
    return syscall(SYS_perf_event_open, attr, pid, cpu, group, flags);
}

static struct perf_event_attr of(uint64_t kind) {
    return (struct perf_event_attr){.type = PERF_TYPE_SOFTWARE, .size = sizeof(struct perf_event_attr), .config = kind};
}

static int counter(uint64_t kind) {
    struct perf_event_attr attr = of(kind);
    int fd = event_open(&attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    NEED(fd >= 0);
    return fd;
}

static uint64_t value(int fd) {
    uint64_t count = -1;
    CHECK(read(fd, &count, sizeof count) == sizeof count);
    return count;
}

static bool fails(long result, int error) {
    if (result == -1 && errno == error)
        return true;
    printf("%ld %s instead of %s\n", result, t_errno(errno), t_errno(error));
    return false;
}

enum { PAGES = 50 };

static void touch_pages(void) {
    char *pages = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(pages != MAP_FAILED && madvise(pages, PAGES * 4096, MADV_NOHUGEPAGE) <= 0);
    for (int i = 0; i < PAGES; i++)
        ((volatile char *)pages)[i * 4096] = 1;
    munmap(pages, PAGES * 4096);
}

// Works until the thread has used so much more of its CPU.
static void burn(long ms) {
    struct timespec start, now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < ms);
}

static void errors(void) {
    struct perf_event_attr attr = of(PERF_COUNT_SW_TASK_CLOCK);
    CHECK(fails(event_open((void *)8, 0, -1, -1, 0), EFAULT));
    CHECK(fails(event_open(&attr, 0, -1, -1, 0x100), EINVAL));
    CHECK(fails(event_open(&attr, -1, -1, -1, 0), EINVAL));
    CHECK(fails(event_open(&attr, 0, 100000, -1, 0), EINVAL));
    CHECK(fails(event_open(&attr, 0, -1, 99, 0), EBADF));
    CHECK(fails(event_open(&attr, 0, -1, 0, 0), EBADF));
    CHECK(fails(event_open(&attr, INT_MAX, -1, -1, 0), ESRCH));
    attr.config = PERF_COUNT_SW_MAX;
    CHECK(fails(event_open(&attr, 0, -1, -1, 0), ENOENT));
    attr = of(PERF_COUNT_SW_TASK_CLOCK), attr.type = 0x7fffffff;
    CHECK(fails(event_open(&attr, 0, -1, -1, 0), ENOENT));
    attr = of(PERF_COUNT_SW_TASK_CLOCK), attr.size = 8;
    CHECK(fails(event_open(&attr, 0, -1, -1, 0), E2BIG) && attr.size >= PERF_ATTR_SIZE_VER0);
    attr = of(PERF_COUNT_SW_TASK_CLOCK), attr.size = 0;
    int fd = event_open(&attr, 0, -1, -1, 0);
    CHECK(fd >= 0 && fcntl(fd, F_GETFD) == 0);
    close(fd);
    // What a larger structure says that is not known must be nothing.
    static struct perf_event_attr large[8];
    large[0] = of(PERF_COUNT_SW_TASK_CLOCK), large[0].size = sizeof large;
    fd = event_open(large, 0, -1, -1, 0);
    CHECK(fd >= 0);
    close(fd);
    ((char *)large)[sizeof large - 1] = 1;
    CHECK(fails(event_open(large, 0, -1, -1, 0), E2BIG));
    attr = of(PERF_COUNT_SW_TASK_CLOCK), attr.read_format = 1 << 20;
    CHECK(fails(event_open(&attr, 0, -1, -1, 0), EINVAL));
    attr = of(PERF_COUNT_SW_TASK_CLOCK), attr.sample_period = 1ull << 63;
    CHECK(fails(event_open(&attr, 0, -1, -1, 0), EINVAL));
    fd = counter(PERF_COUNT_SW_DUMMY);
    char few[7];
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && fails(read(fd, few, sizeof few), ENOSPC));
    CHECK(fails(write(fd, few, sizeof few), EINVAL) && fails(ioctl(fd, 0x2477, 0), ENOTTY));
    CHECK(fails(ioctl(fd, PERF_EVENT_IOC_REFRESH, 1), EINVAL) && value(fd) == 0);
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLHUP);
    close(fd);
}

// Sleeps so many times, each time until a child sees that.
static void sleep_times(int times) {
    int pipe_[2], status;
    NEED(pipe(pipe_) == 0);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        for (int i = 0; i < times; i++) {
            while (process_state(parent) != 'S')
                sched_yield();
            NEED(write(pipe_[1], "x", 1) == 1);
        }
        _exit(0);
    }
    char byte;
    for (int i = 0; i < times; i++)
        NEED(read(pipe_[0], &byte, 1) == 1);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    close(pipe_[0]), close(pipe_[1]);
}

static void kinds(void) {
    int faults = counter(PERF_COUNT_SW_PAGE_FAULTS), minor = counter(PERF_COUNT_SW_PAGE_FAULTS_MIN);
    int major = counter(PERF_COUNT_SW_PAGE_FAULTS_MAJ), switches = counter(PERF_COUNT_SW_CONTEXT_SWITCHES);
    int migrations = counter(PERF_COUNT_SW_CPU_MIGRATIONS);
    int task = counter(PERF_COUNT_SW_TASK_CLOCK), cpu = counter(PERF_COUNT_SW_CPU_CLOCK);
    uint64_t before = value(faults);
    touch_pages();
    CHECK(value(faults) - before >= PAGES && value(faults) - before < 2 * PAGES && value(minor) >= PAGES);
    CHECK(value(major) == 0);
    before = value(switches);
    sleep_times(10);
    CHECK(value(switches) - before >= 10);
    before = value(task);
    burn(5);
    CHECK(value(task) - before >= 5000000 && value(cpu) >= 5000000 && value(task) < 60000000000);
    // From one CPU to the other, where there are two.
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    uint64_t moved = value(migrations);
    int count = 0;
    for (int i = 0; i < CPU_SETSIZE && count < 2; i++)
        if (CPU_ISSET(i, &all)) {
            CPU_ZERO(&one);
            CPU_SET(i, &one);
            CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
            count++;
        }
    CHECK(value(migrations) - moved >= (uint64_t)(count - 1));
    CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
    close(faults), close(minor), close(major), close(switches), close(migrations), close(task), close(cpu);
}

static void enabling(void) {
    struct perf_event_attr attr = of(PERF_COUNT_SW_PAGE_FAULTS);
    attr.disabled = 1, attr.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING | PERF_FORMAT_ID;
    int fd = event_open(&attr, 0, -1, -1, 0);
    uint64_t words[4], id;
    touch_pages();
    CHECK(read(fd, words, sizeof words) == sizeof words && words[0] == 0 && words[1] == 0 && words[2] == 0);
    CHECK(ioctl(fd, PERF_EVENT_IOC_ID, &id) == 0 && id == words[3] && id != 0);
    CHECK(ioctl(fd, PERF_EVENT_IOC_ENABLE, 0) == 0);
    touch_pages();
    CHECK(ioctl(fd, PERF_EVENT_IOC_DISABLE, 0) == 0);
    CHECK(read(fd, words, sizeof words) == sizeof words && words[0] >= PAGES && words[1] > 0 && words[1] == words[2]);
    uint64_t counted = words[0], time = words[1];
    touch_pages();
    CHECK(read(fd, words, sizeof words) == sizeof words && words[0] == counted && words[1] == time);
    CHECK(ioctl(fd, PERF_EVENT_IOC_RESET, 0) == 0);
    CHECK(read(fd, words, sizeof words) == sizeof words && words[0] == 0 && words[1] == time);
    CHECK(ioctl(fd, PERF_EVENT_IOC_ENABLE, 0) == 0);
    touch_pages();
    CHECK(read(fd, words, sizeof words) == sizeof words && words[0] >= PAGES && words[0] < 2 * PAGES && words[1] > time);
    close(fd);
    // What is not to count.
    attr = of(PERF_COUNT_SW_CONTEXT_SWITCHES), attr.exclude_kernel = 1;
    fd = event_open(&attr, 0, -1, -1, 0);
    sleep_ms(1);
    CHECK(value(fd) == 0);
    close(fd);
    attr = of(PERF_COUNT_SW_PAGE_FAULTS), attr.exclude_user = 1;
    fd = event_open(&attr, 0, -1, -1, 0);
    touch_pages();
    CHECK(value(fd) < PAGES);
    close(fd);
}

static void groups(void) {
    struct perf_event_attr attr = of(PERF_COUNT_SW_TASK_CLOCK);
    attr.disabled = 1, attr.read_format = PERF_FORMAT_GROUP | PERF_FORMAT_ID | PERF_FORMAT_TOTAL_TIME_ENABLED;
    int leader = event_open(&attr, 0, -1, -1, 0);
    attr.config = PERF_COUNT_SW_PAGE_FAULTS, attr.disabled = 0;
    int member = event_open(&attr, 0, -1, leader, 0);
    NEED(leader >= 0 && member >= 0);
    CHECK(fails(event_open(&attr, 0, -1, member, 0), EINVAL));
    attr.inherit = 1;
    CHECK(fails(event_open(&attr, 0, -1, leader, 0), EINVAL));
    attr.inherit = 0;
    uint64_t words[6], id[2];
    CHECK(ioctl(leader, PERF_EVENT_IOC_ID, id) == 0 && ioctl(member, PERF_EVENT_IOC_ID, id + 1) == 0);
    // The member waits for its leader.
    touch_pages();
    CHECK(read(leader, words, sizeof words) == sizeof words && words[0] == 2 && words[1] == 0);
    CHECK(words[2] == 0 && words[3] == id[0] && words[4] == 0 && words[5] == id[1]);
    CHECK(fails(read(leader, words, sizeof words - 8), ENOSPC));
    CHECK(ioctl(leader, PERF_EVENT_IOC_ENABLE, 0) == 0);
    touch_pages(), burn(1);
    CHECK(ioctl(leader, PERF_EVENT_IOC_DISABLE, 0) == 0);
    CHECK(read(leader, words, sizeof words) == sizeof words && words[2] >= 1000000 && words[4] >= PAGES);
    uint64_t counted = words[4];
    touch_pages();
    CHECK(read(leader, words, sizeof words) == sizeof words && words[4] == counted);
    CHECK(ioctl(member, PERF_EVENT_IOC_RESET, PERF_IOC_FLAG_GROUP) == 0);
    CHECK(read(leader, words, sizeof words) == sizeof words && words[2] == 0 && words[4] == 0);
    CHECK(ioctl(member, PERF_EVENT_IOC_ENABLE, PERF_IOC_FLAG_GROUP) == 0);
    touch_pages();
    // Any of them tells of the whole group.
    CHECK(read(member, words, sizeof words) == sizeof words && words[0] == 2 && words[4] >= PAGES && words[5] == id[1]);
    close(member);
    CHECK(read(leader, words, sizeof words) == 4 * sizeof *words && words[0] == 1);
    close(leader);
}

static void *touching(void *argument) {
    touch_pages();
    return argument;
}

static void children(void) {
    struct perf_event_attr attr = of(PERF_COUNT_SW_PAGE_FAULTS);
    int own = event_open(&attr, 0, -1, -1, 0);
    attr.inherit = 1;
    int all = event_open(&attr, 0, -1, -1, 0);
    NEED(own >= 0 && all >= 0);
    uint64_t own_before = value(own), before = value(all);
    pthread_t thread;
    NEED(pthread_create(&thread, NULL, touching, NULL) == 0 && pthread_join(thread, NULL) == 0);
    CHECK(value(all) - before >= PAGES && value(own) - own_before < PAGES);
    before = value(all);
    pid_t child = fork();
    if (child == 0) {
        touch_pages();
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(value(all) - before >= PAGES);
    close(own), close(all);
    // As `perf stat` has it: a child that counts once it executes a program.
    int ready[2];
    NEED(pipe(ready) == 0);
    child = fork();
    if (child == 0) {
        char byte;
        touch_pages();
        if (read(ready[0], &byte, 1) == 1)
            execl("/proc/self/exe", "again", "touch", NULL);
        _exit(1);
    }
    attr.disabled = 1, attr.enable_on_exec = 1;
    int fd = event_open(&attr, child, -1, -1, 0);
    NEED(fd >= 0);
    CHECK(value(fd) == 0);
    NEED(write(ready[1], "x", 1) == 1);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    uint64_t counted = value(fd);
    CHECK(counted >= PAGES && value(fd) == counted);
    CHECK(fails(event_open(&attr, child, -1, -1, 0), ESRCH));
    close(fd);
}

static void rights(void) {
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        NEED(setuid(65534) == 0);
        struct perf_event_attr attr = of(PERF_COUNT_SW_TASK_CLOCK);
        CHECK(fails(event_open(&attr, 0, -1, -1, 0), EACCES));
        attr.exclude_kernel = 1;
        CHECK(fails(event_open(&attr, parent, -1, -1, 0), EACCES));
        CHECK(fails(event_open(&attr, -1, 0, -1, 0), EACCES));
        int fd = event_open(&attr, 0, -1, -1, 0);
        CHECK(fd >= 0);
        burn(1);
        CHECK(value(fd) >= 1000000);
        exit(t_failures);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "touch") == 0) {
        touch_pages();
        return 0;
    }
    errors();
    kinds();
    enabling();
    groups();
    children();
    rights();
    puts(t_failures ? "failed" : "done");
    DONE();
}
