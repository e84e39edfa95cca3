// /proc/keys and /proc/key-users (keyrings(7)): what a key's line tells, of its time, rights and state; and which keys a user sees.
#include "t.h"
#include <linux/keyctl.h>
#include <sys/wait.h>

// Linux forgets keys a little after their end: those of earlier runs are of another user, and have other names.
static int me;
static char own[32];

#define ctl(...) syscall(SYS_keyctl, __VA_ARGS__)
static const char *called(const char *name) {
    static char text[64];
    snprintf(text, sizeof text, "%s:%s", own, name);
    return text;
}
static long add(const char *type, const char *name, const void *payload, size_t len, long ring) {
    long key = syscall(SYS_add_key, type, called(name), payload, len, ring);
    NEED(key > 0);
    return key;
}
static int by_end(const void *a, const void *b) {
    return strcmp(strchr(a, ':'), strchr(b, ':'));
}
// The lines of our own keys by their names, without numbers and references. Of a revoked key's time nothing is documented.
static void show(const char *who) {
    static char shown[20][300];
    int count = 0;
    char line[256], flags[16], time[16], rest[200];
    unsigned id, rights;
    int references, uid, gid, length;
    printf("%s\n", who);
    FILE *file = fopen("/proc/keys", "r");
    NEED(file);
    while (fgets(line, sizeof line, file)) {
        NEED(sscanf(line, "%x %15s %d %15s %x %d %d %n", &id, flags, &references, time, &rights, &uid, &gid, &length) == 7);
        snprintf(rest, sizeof rest, "%s", line + length);
        char *name = strstr(rest, own);
        if (name)
            snprintf(shown[count++], sizeof shown[0], "  %s %s %08x %d %d %.10s%s", flags, flags[1] == 'R' ? "" : time, rights,
                     uid == me, gid == me, rest, name + strlen(own));
    }
    fclose(file);
    qsort(shown, count, sizeof shown[0], by_end);
    for (int i = 0; i < count; i++)
        printf("%s", shown[i]);
}
static void show_user(int wanted) {
    char line[256];
    int uid, used, keys, made, counted, most, bytes, bytes_max;
    FILE *file = fopen("/proc/key-users", "r");
    NEED(file);
    while (fgets(line, sizeof line, file)) {
        NEED(sscanf(line, "%d: %d %d/%d %d/%d %d/%d", &uid, &used, &keys, &made, &counted, &most, &bytes, &bytes_max) == 8);
        if (uid == wanted)
            printf("user: %d %d %d of %d, bytes %d of %d\n", keys, made, counted, most, bytes > 0, bytes_max);
    }
    fclose(file);
}

int main(void) {
    me = 200000 + getpid();
    snprintf(own, sizeof own, "coracle-%d", me);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        NEED(setgid(me) == 0 && setuid(me) == 0);
        NEED(ctl(KEYCTL_JOIN_SESSION_KEYRING, called("session")) > 0);
        long session = KEY_SPEC_SESSION_KEYRING;
        show("a session");
        long one = add("user", "one", "payload", 7, session);
        long two = add("logon", "two", "secret", 6, session);
        long ring = add("keyring", "ring", NULL, 0, session);
        show("three keys");
        add("user", "inner", "x", 1, ring);
        NEED(ctl(KEYCTL_SET_TIMEOUT, one, 3 * 86400 + 100) == 0);
        NEED(ctl(KEYCTL_SETPERM, two, 0x3f010000) == 0);
        show("a time-out, rights, a link");
        NEED(ctl(KEYCTL_SET_TIMEOUT, one, 8 * 86400) == 0);
        NEED(ctl(KEYCTL_SET_TIMEOUT, two, 3 * 3600 + 100) == 0);
        show("weeks and hours");
        // One that its possessor may not view.
        NEED(ctl(KEYCTL_SETPERM, two, 0x3e000000) == 0);
        show("less rights");
        NEED(ctl(KEYCTL_REVOKE, one) == 0);
        show("one revoked");
        show_user(me);
        fflush(stdout);
        pid_t other = fork();
        if (other == 0) {
            NEED(ctl(KEYCTL_JOIN_SESSION_KEYRING, called("other")) > 0);
            show("in another session");
            _exit(0);
        }
        int status;
        NEED(waitpid(other, &status, 0) == other && status == 0);
        _exit(0);
    }
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    SHOW(status);
    DONE();
}
