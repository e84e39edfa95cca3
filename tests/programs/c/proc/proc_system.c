// /proc/cpuinfo, meminfo, stat, uptime, loadavg, version, filesystems, mounts, sys/…: the fields programs look for.
#include "t.h"

// What the line of a CPU's features begins with, and one that each has.
#ifdef __aarch64__
#define FEATURES "Features\t: fp "
#define A_FEATURE " asimd"
#else
#define FEATURES "flags\t\t: fpu"
#define A_FEATURE " sse2 "
#endif

static char text[1 << 18];
static int slurp(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    ssize_t n = 0, r;
    while ((r = read(fd, text + n, sizeof text - 1 - (size_t)n)) > 0)
        n += r;
    text[n] = 0;
    close(fd);
    return n > 0;
}
static int has(const char *path, const char *word) { return slurp(path) && strstr(text, word) != NULL; }
static long number(const char *path) { return slurp(path) ? strtol(text, NULL, 10) : -1; }

int main(void) {
    SHOW(has("/proc/cpuinfo", "processor\t: 0\n"));
    SHOW(has("/proc/cpuinfo", FEATURES));
    SHOW(has("/proc/cpuinfo", A_FEATURE));
    int cpus = 0;
    for (char *p = text; (p = strstr(p, "processor\t:")); p++)
        cpus++;
    SHOW(cpus == sysconf(_SC_NPROCESSORS_ONLN));
    SHOW(has("/proc/meminfo", "MemTotal: "));
    SHOW(has("/proc/meminfo", "MemAvailable: "));
    SHOW(has("/proc/meminfo", "MemFree: "));
    SHOW(has("/proc/meminfo", "SwapTotal: "));
    SHOW(has("/proc/stat", "cpu  "));
    SHOW(has("/proc/stat", "\ncpu0 "));
    SHOW(has("/proc/stat", "\nbtime "));
    SHOW(has("/proc/uptime", "."));
    SHOW(has("/proc/loadavg", "."));
    SHOW(has("/proc/version", "Linux version "));
    SHOW(has("/proc/filesystems", "tmpfs"));
    SHOW(has("/proc/mounts", " / "));
    SHOW(has("/proc/self/mounts", " /proc "));
    SHOW(has("/proc/self/mountinfo", " / "));
    SHOW(number("/proc/sys/net/core/somaxconn") >= 128);
    SHOW(number("/proc/sys/kernel/pid_max") >= 1024);
    SHOW(number("/proc/sys/vm/overcommit_memory") >= 0);
    SHOW(number("/proc/sys/kernel/cap_last_cap") >= 30);
    SHOW(number("/proc/sys/fs/file-max") > 1000);
    SHOW(slurp("/proc/sys/kernel/random/uuid") ? (long)strlen(text) : -1);
    SHOW(slurp("/proc/sys/kernel/random/boot_id") ? (long)strlen(text) : -1);
    SHOW(has("/proc/sys/kernel/osrelease", "."));
    SHOW(has("/proc/sys/kernel/ostype", "Linux"));
    SHOW(has("/sys/devices/system/cpu/online", "0"));
    SHOW(sysconf(_SC_NPROCESSORS_CONF) >= 1);
    SHOW(sysconf(_SC_PHYS_PAGES) > 1000);
    SHOW(sysconf(_SC_PAGESIZE));
    SHOW(sysconf(_SC_CLK_TCK));
    SHOW(has("/proc/net/dev", "lo:"));
    SHOW(has("/etc/hostname", "") || errno == ENOENT);
    DONE();
}
