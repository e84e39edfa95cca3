// /proc/PID/mountstats (proc(5)): a line for each mount, as in /proc/PID/mounts; processes have it, threads have not.
#include "t.h"

int main(void) {
    FILE *stats = fopen("/proc/self/mountstats", "r"), *mounts = fopen("/proc/self/mounts", "r");
    NEED(stats && mounts);
    char line[4096], mount[4096];
    while (fgets(mount, sizeof mount, mounts)) {
        char source[2048], at[2048], kind[256], of[2048], on[2048], fstype[256];
        NEED(fgets(line, sizeof line, stats));
        CHECK(sscanf(mount, "%2047s %2047s %255s", source, at, kind) == 3);
        CHECK(sscanf(line, "device %2047s mounted on %2047s with fstype %255s", of, on, fstype) == 3);
        CHECK(!strcmp(source, of) && !strcmp(at, on) && !strcmp(kind, fstype));
    }
    SHOW(fgets(line, sizeof line, stats) == NULL);
    SHOW(access("/proc/thread-self/mountstats", F_OK));
    DONE();
}
