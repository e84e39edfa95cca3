// The directory of a process that was waited for has nothing any more, while a program holds it open. /proc/PID/task/TID/children,
// schedstat; the names in /proc/meminfo and /proc/net/snmp that programs insist on (proc(5)).
#include "t.h"
#include <dirent.h>
#include <sys/wait.h>

static pid_t sleeper(void) {
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    return child;
}

// Whether a line of the file begins with these words.
static bool has_line(const char *path, const char *words) {
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    char line[2048];
    bool has = false;
    while (file && fgets(line, sizeof line, file))
        has |= strncmp(line, words, strlen(words)) == 0;
    if (file)
        fclose(file);
    return has;
}

int main(void) {
    char path[64], text[256] = "";
    pid_t children[2] = {sleeper(), sleeper()};
    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    int list = open(path, O_RDONLY | O_CLOEXEC);
    // Some kernels are built without.
    if (list >= 0) {
        char expected[64];
        CHECK(read(list, text, sizeof text - 1) > 0);
        snprintf(expected, sizeof expected, "%d %d ", children[0], children[1]);
        CHECK(strcmp(text, expected) == 0);
    }
    SHOW(open("/proc/self/children", O_RDONLY));

    unsigned long long ran, waited, times;
    FILE *stat = fopen("/proc/self/schedstat", "r");
    CHECK(stat != NULL && fscanf(stat, "%llu %llu %llu", &ran, &waited, &times) == 3);

    snprintf(path, sizeof path, "/proc/%d", children[0]);
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(directory >= 0);
    int file = openat(directory, "stat", O_RDONLY | O_CLOEXEC);
    CHECK(file >= 0);
    CHECK(kill(children[0], SIGKILL) == 0);
    int status;
    CHECK(waitpid(children[0], &status, 0) == children[0]);
    SHOW(openat(directory, "stat", O_RDONLY));
    SHOW(openat(directory, "task", O_RDONLY));
    SHOW(openat(directory, "none", O_RDONLY));
    DIR *entries = fdopendir(directory);
    printf("an entry: %d\n", readdir(entries) != NULL);
    SHOW(open(path, O_RDONLY));
    CHECK(kill(children[1], SIGKILL) == 0 && waitpid(children[1], &status, 0) == children[1]);

    static const char *const names[] = {"Active(anon):", "Inactive(file):", "Mlocked:", "SReclaimable:", "KernelStack:",
                                        "PageTables:",   "VmallocTotal:",   "VmallocUsed:", "VmallocChunk:"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        printf("%s %d\n", names[i], has_line("/proc/meminfo", names[i]));
    printf("Icmp %d\n", has_line("/proc/net/snmp", "Icmp: InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs "));
    DONE();
}
