// A whole program in which the n-th allocation in the kernel fails, for every n. Whatever the program makes of it, it ends, nothing
// leaks, and the machine lives.
// link: static
// memory: 128M
// fail-alloc: 0
// linux: no
// machines: all
// stdout-has: every program ended
// stdout-has: no memory is lost
#include "failing.h"
#include <sys/wait.h>

// A program that has not ended by then hangs.
#define LIMIT_SECONDS 120

// What is run where no program is named: processes that talk by a pipe, and files.
static int talk(void) {
    int pipes[2];
    char text[100];
    if (mkdir("talk", 0755) == -1 || pipe(pipes) == -1)
        return 1;
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open("talk/file", O_CREAT | O_RDWR, 0644);
        if (fd == -1 || write(fd, "words", 5) != 5 || lseek(fd, 0, SEEK_SET) != 0)
            _exit(1);
        _exit(read(fd, text, sizeof text) == 5 && write(pipes[1], text, 5) == 5 ? 0 : 1);
    }
    close(pipes[1]);
    int status = 1;
    bool is_right = pid > 0 && read(pipes[0], text, sizeof text) == 5 && waitpid(pid, &status, 0) == pid;
    return is_right ? status != 0 : 1;
}

static pid_t running;
static void give_up(int signal) {
    (void)signal;
    kill(running, SIGKILL);
    // The others, which are all of this guest's but the first process.
    if (getpid() == 1)
        kill(-1, SIGKILL);
}

// Runs the program with its n-th allocation failing; returns its status.
static int run(char **program, long nth) {
    running = fork();
    NEED(running >= 0);
    if (running == 0) {
        int null = open("/dev/null", O_RDWR);
        NEED(null >= 0);
        for (int fd = 0; fd <= 2; fd++)
            dup2(null, fd);
        open_nth();
        arm(nth);
        execv(program[0], program);
        _exit(127);
    }
    alarm(LIMIT_SECONDS);
    int status;
    NEED(waitpid(running, &status, 0) == running);
    // What it left running is now a child of the first process of the guest, this one.
    while (waitpid(-1, NULL, 0) > 0) {
    }
    if (alarm(0) == 0) {
        printf("FAILED: with allocation %ld failing it does not end\n", nth);
        t_failures++;
    }
    unlink("talk/file");
    rmdir("talk");
    return status;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "talk"))
        return talk();
    char *own[] = {"/proc/self/exe", "talk", NULL};
    char **program = argc > 1 ? argv + 1 : own;
    signal(SIGALRM, give_up);
    enter_scratch();
    open_nth();
    // Files of the image that it reads are kept in memory from here on.
    CHECK(run(program, 0) == 0);
    const long slack = 256;
    // The kernel keeps up to a megabyte of stacks for later, now more and now fewer: what is lost is lost each time.
    long lost = slack + 1;
    for (int time = 0; time < 3 && lost > slack; time++) {
        long before = free_memory(), failed = 0, nth = 0;
        do {
            NEED(++nth < 1000000);
            failed += run(program, nth) != 0;
        } while (has_failed());
        arm(0);
        CHECK(failed > 0);
        CHECK(run(program, 0) == 0);
        lost = before - free_memory();
    }
    if (t_failures == 0)
        printf("every program ended\n");
    if (lost <= slack)
        printf("no memory is lost\n");
    else
        printf("FAILED %ld KB of memory are lost\n", lost);
    DONE();
}
