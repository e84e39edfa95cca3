// The control group that every process is in: its limits are what the machine has.
// linux: no
#include "t.h"
#include <sys/statfs.h>
#include <sys/sysinfo.h>

static long long number(const char *path) {
    char text[64] = "";
    int fd = open(path, O_RDONLY);
    NEED(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return atoll(text);
}
#define AT(name) "/sys/fs/cgroup/" name

int main(void) {
    struct statfs fs;
    NEED(statfs("/sys/fs/cgroup", &fs) == 0);
    CHECK(fs.f_type == 0x63677270);
    struct sysinfo info;
    NEED(sysinfo(&info) == 0);
    CHECK(number(AT("memory.max")) == (long long)info.totalram * info.mem_unit);
    CHECK(number(AT("memory.current")) > 0 && number(AT("memory.current")) < number(AT("memory.max")));
    CHECK(number(AT("cpu.max")) == sysconf(_SC_NPROCESSORS_ONLN) * 100000);
    CHECK(number(AT("pids.max")) > 0 && number(AT("pids.current")) >= 1);
    CHECK(number(AT("cgroup.procs")) == 1);
    char text[4096] = "";
    int fd = open("/proc/self/mountinfo", O_RDONLY);
    NEED(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    CHECK(strstr(text, " / /sys/fs/cgroup ") && strstr(text, " - cgroup2 "));
    show_file("/proc/self/cgroup");
    DONE();
}
