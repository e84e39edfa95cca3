// Who has CAP_SYS_RESOURCE may lower oom_score_adj, others to what such a process set last (proc(5)). Not run on Linux, where
// the user of the tests may not have it.
// linux: no
// stdout-has: lowered and kept
#include "t.h"
#include <sys/prctl.h>
#include <sys/wait.h>

static int adjustment(void) {
    char text[16] = "";
    int fd = open("/proc/self/oom_score_adj", O_RDONLY);
    NEED(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return atoi(text);
}

static int set(const char *value) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY);
    NEED(fd >= 0);
    ssize_t done = write(fd, value, strlen(value));
    int error = done < 0 ? errno : 0;
    close(fd);
    return error;
}

static int score(void) {
    char text[16] = "";
    int fd = open("/proc/self/oom_score", O_RDONLY);
    NEED(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return atoi(text);
}

static int child(void) {
    CHECK(adjustment() == 0);
    int first = score();
    CHECK(set("-1000") == 0 && adjustment() == -1000);
    CHECK(score() == 0);
    CHECK(set("-200") == 0 && adjustment() == -200);
    CHECK(score() < first);
    // Its files in /proc are root's otherwise.
    NEED(setresuid(1000, 1000, 1000) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0);
    CHECK(set("300") == 0 && adjustment() == 300);
    CHECK(score() > first);
    CHECK(set("-200") == 0);
    CHECK(set("-201") == EACCES && adjustment() == -200);
    puts("lowered and kept");
    DONE();
}

// The first process is never chosen while there is another, and has no score.
int main(void) {
    CHECK(score() == 0);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0)
        _exit(child());
    int status;
    NEED(waitpid(pid, &status, 0) == pid && status == 0);
    DONE();
}
