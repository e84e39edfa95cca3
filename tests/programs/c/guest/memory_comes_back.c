// What threads, processes, descriptors and files took is free memory again soon after they are gone.
// machines: all
// linux: no
// stdout-has: all came back
#include "t.h"
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>

// What may stay, for caches and page tables, and how long the rest may take to come back.
enum { KEPT_KB = 6 << 10, PATIENCE_MS = 10000 };

static long free_kb(void) {
    char line[128];
    long kb = -1;
    FILE *file = fopen("/proc/meminfo", "r");
    NEED(file);
    while (fgets(line, sizeof line, file) && sscanf(line, "MemFree: %ld", &kb) != 1)
        ;
    fclose(file);
    return kb;
}

static void *rest(void *unused) {
    pause();
    return unused;
}

static void threads(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    for (int i = 0; i < 500; i++) {
        pthread_t thread;
        NEED(pthread_create(&thread, &attributes, rest, NULL) == 0);
    }
}

static void processes(void) {
    pid_t children[200];
    for (int i = 0; i < 200; i++) {
        children[i] = fork();
        NEED(children[i] >= 0);
        if (children[i] == 0)
            pause();
    }
    for (int i = 0; i < 200; i++) {
        kill(children[i], SIGKILL);
        NEED(waitpid(children[i], NULL, 0) == children[i]);
    }
}

static void descriptors(void) {
    struct rlimit many = {20000, 20000};
    NEED(setrlimit(RLIMIT_NOFILE, &many) == 0);
    for (int i = 0; i < 15000; i++)
        NEED(eventfd(0, 0) >= 0);
}

static void files(const char *path) {
    static char piece[1 << 20];
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    NEED(fd >= 0);
    for (int i = 0; i < 12; i++)
        NEED(write(fd, piece, sizeof piece) == sizeof piece);
    NEED(unlink(path) == 0);
}

int main(void) {
    const long before = free_kb();
    for (int what = 0; what < 10; what++) {
        pid_t child = fork();
        NEED(child >= 0);
        if (child == 0) {
            switch (what % 5) {
            case 0: threads(); break;
            case 1: processes(); break;
            case 2: descriptors(); break;
            case 3: files("/tmp/burst"); break;
            case 4: files("/burst"); break;
            }
            _exit(0);
        }
        int status;
        NEED(waitpid(child, &status, 0) == child && status == 0);
        for (int waited_ms = 0; free_kb() + KEPT_KB < before; waited_ms += 10) {
            if (waited_ms > PATIENCE_MS) {
                printf("%d: %ld kB were free, %ld kB are\n", what, before, free_kb());
                return 1;
            }
            usleep(10000);
        }
    }
    puts("all came back");
    DONE();
}
