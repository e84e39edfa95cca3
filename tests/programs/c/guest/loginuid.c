// Who logged in (proc(5)): unset at first, set once by anyone, then only with CAP_AUDIT_CONTROL; children inherit it with its session.
// Not run on Linux, where the tests may run in a session that somebody logged in to.
// linux: no
// stdout-has: inherited
#include "t.h"
#include <sys/prctl.h>
#include <sys/wait.h>

static long number(const char *name) {
    char text[16] = "";
    int fd = open(name, O_RDONLY);
    NEED(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    NEED(close(fd) == 0);
    return atol(text);
}

// As pam_loginuid(8) writes it.
static int set(const char *text) {
    int fd = open("/proc/self/loginuid", O_NOFOLLOW | O_RDWR);
    NEED(fd >= 0);
    NEED(lseek(fd, 0, SEEK_SET) == 0 && ftruncate(fd, 0) == 0);
    ssize_t done = write(fd, text, strlen(text));
    int error = done < 0 ? errno : 0;
    NEED(close(fd) == 0);
    return error;
}

static void is(const char *what, long user, bool in_session) {
    long session = number("/proc/self/sessionid");
    CHECK(number("/proc/self/loginuid") == user);
    CHECK((session != UINT32_MAX) == in_session);
    puts(what);
}

int main(void) {
    is("nobody", UINT32_MAX, false);
    CHECK(set("many") == EINVAL);
    CHECK(set("1234") == 0);
    is("set", 1234, true);
    CHECK(set("4294967295") == 0);
    is("nobody again", UINT32_MAX, false);
    CHECK(set("1233") == 0);
    CHECK(set("1234") == 0);
    // Without the capability no more.
    NEED(setuid(1000) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0);
    CHECK(set("1235") == EPERM);
    CHECK(set("4294967295") == EPERM);
    is("kept", 1234, true);
    long session = number("/proc/self/sessionid");
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        CHECK(number("/proc/self/sessionid") == session);
        is("inherited", 1234, true);
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/loginuid", getppid());
        int fd = open(path, O_WRONLY);
        CHECK(fd < 0 || (write(fd, "5", 1) < 0 && errno == EPERM));
        _exit(t_failures);
    }
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    CHECK(status == 0);
    DONE();
}
