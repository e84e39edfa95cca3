// Keys and keyrings: what add_key, request_key and keyctl do, who may, and what goes with a process, a program and a session.
#include "t.h"
#include <linux/keyctl.h>
#include <sys/wait.h>

static long add(const char *type, const char *name, const void *payload, size_t len, long ring) {
    return syscall(SYS_add_key, type, name, payload, len, ring);
}
static long request(const char *type, const char *name, const char *info, long ring) {
    return syscall(SYS_request_key, type, name, info, ring);
}
#define ctl(...) syscall(SYS_keyctl, __VA_ARGS__)
enum {
    KEY_POS_VIEW = 1 << 24,
    KEY_POS_WRITE = 4 << 24,
    KEY_POS_SEARCH = 8 << 24,
    KEY_POS_LINK = 0x10 << 24,
    KEY_POS_SETATTR = 0x20 << 24,
};
static const char *name_of(int error) {
    switch (error) {
    case ENOKEY: return "ENOKEY";
    case EKEYEXPIRED: return "EKEYEXPIRED";
    case EKEYREVOKED: return "EKEYREVOKED";
    case EDQUOT: return "EDQUOT";
    default: return t_errno(error);
    }
}
// A result that is a number of a key, or an error.
#define KEY(expr)                                                                                                \
    do {                                                                                                         \
        errno = 0;                                                                                               \
        long value = (expr);                                                                                     \
        printf("%s: %s\n", #expr, value == -1 ? name_of(errno) : value > 0 ? "a key" : "0");                     \
    } while (0)
// One that is a number of bytes.
#define SIZE(expr)                                                                                               \
    do {                                                                                                         \
        errno = 0;                                                                                               \
        long value = (expr);                                                                                     \
        if (value == -1)                                                                                         \
            printf("%s: %s\n", #expr, name_of(errno));                                                           \
        else                                                                                                     \
            printf("%s: %ld\n", #expr, value);                                                                   \
    } while (0)

static void described(long key) {
    char text[256] = "";
    if (ctl(KEYCTL_DESCRIBE, key, text, sizeof text) == -1)
        printf("describe: %s\n", name_of(errno));
    else
        printf("describe: %s\n", text);
}
static void contents(long key) {
    char text[64] = "";
    long n = ctl(KEYCTL_READ, key, text, sizeof text - 1);
    if (n == -1)
        printf("read: %s\n", name_of(errno));
    else
        printf("read: %ld \"%.*s\"\n", n, (int)n, text);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        // After exec: the process keyring is another, the session's is the same.
        KEY(ctl(KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", "kept", 0));
        KEY(ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 0));
        return 0;
    }
    long before = ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
    long session = ctl(KEYCTL_JOIN_SESSION_KEYRING, NULL);
    CHECK(session > 0 && session != before);
    CHECK(ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0) == session);
    described(KEY_SPEC_SESSION_KEYRING);
    KEY(ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 0));
    KEY(ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1));
    described(KEY_SPEC_PROCESS_KEYRING);
    // Keys.
    long key = add("user", "secret", "hello", 5, KEY_SPEC_PROCESS_KEYRING);
    NEED(key > 0);
    described(key);
    contents(key);
    char small[3] = "..";
    SIZE(ctl(KEYCTL_READ, key, small, 2));
    SIZE(ctl(KEYCTL_READ, key, NULL, 0));
    printf("%s\n", small);
    SHOW(add("user", "secret", "other", 5, KEY_SPEC_PROCESS_KEYRING) == key);
    contents(key);
    SIZE(ctl(KEYCTL_UPDATE, key, "longer text", 11));
    contents(key);
    KEY(add("user", "", "x", 1, KEY_SPEC_PROCESS_KEYRING));
    KEY(add("user", "empty", "", 0, KEY_SPEC_PROCESS_KEYRING));
    KEY(add("keyring", "ring", "x", 1, KEY_SPEC_PROCESS_KEYRING));
    KEY(add("unknown", "name", "x", 1, KEY_SPEC_PROCESS_KEYRING));
    KEY(add(".hidden", "name", "x", 1, KEY_SPEC_PROCESS_KEYRING));
    KEY(add("logon", "plain", "x", 1, KEY_SPEC_PROCESS_KEYRING));
    KEY(add("user", "x", "x", 1, 0));
    KEY(add("user", "x", "x", 1, 2147483647));
    KEY(add("user", "x", "x", 1, key));
    long logon = add("logon", "service:name", "x", 1, KEY_SPEC_PROCESS_KEYRING);
    described(logon);
    contents(logon);
    SIZE(ctl(KEYCTL_DESCRIBE, key, NULL, 0));
    // Searching.
    SHOW(request("user", "secret", NULL, 0) == key);
    SHOW(request("user", "secret", NULL, KEY_SPEC_SESSION_KEYRING) == key);
    SHOW(ctl(KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", "secret", 0) == key);
    KEY(request("user", "absent", NULL, 0));
    KEY(request("keyring", "secret", NULL, 0));
    KEY(ctl(KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", "absent", 0));
    KEY(ctl(KEYCTL_SEARCH, key, "user", "absent", 0));
    // Keyrings in keyrings.
    long ring = add("keyring", "inner", NULL, 0, KEY_SPEC_PROCESS_KEYRING), deep = add("keyring", "deep", NULL, 0, ring);
    described(ring);
    long hidden = add("user", "hidden", "in the deep", 11, deep);
    SHOW(ctl(KEYCTL_SEARCH, ring, "user", "hidden", 0) == hidden);
    SHOW(request("user", "hidden", NULL, 0) == hidden);
    SIZE(ctl(KEYCTL_READ, ring, NULL, 0));
    KEY(ctl(KEYCTL_LINK, ring, deep));
    KEY(ctl(KEYCTL_LINK, ring, ring));
    KEY(ctl(KEYCTL_LINK, hidden, ring));
    KEY(ctl(KEYCTL_LINK, ring, hidden));
    int all[4];
    SIZE(ctl(KEYCTL_READ, ring, all, sizeof all));
    SHOW(all[0] == deep || all[1] == deep);
    KEY(ctl(KEYCTL_UNLINK, hidden, deep));
    KEY(ctl(KEYCTL_UNLINK, hidden, deep));
    KEY(ctl(KEYCTL_CLEAR, key));
    KEY(ctl(KEYCTL_CLEAR, ring));
    KEY(ctl(KEYCTL_SEARCH, ring, "user", "hidden", 0));
    KEY(ctl(KEYCTL_UPDATE, ring, "x", 1));
    // A key that is linked to from nowhere is gone; one that is linked to twice is not.
    SHOW(ctl(KEYCTL_UNLINK, key, KEY_SPEC_PROCESS_KEYRING));
    contents(key);
    // Rights.
    SHOW(ctl(KEYCTL_SETPERM, key, 0x3f3f0000));
    described(key);
    KEY(ctl(KEYCTL_SETPERM, key, 0x40000000));
    SHOW(ctl(KEYCTL_SETPERM, key, KEY_POS_VIEW | KEY_POS_SETATTR | KEY_POS_LINK | KEY_POS_SEARCH));
    KEY(ctl(KEYCTL_UPDATE, key, "x", 1));
    contents(key);
    SHOW(ctl(KEYCTL_SETPERM, key, KEY_POS_VIEW | KEY_POS_SETATTR | KEY_POS_LINK | KEY_POS_WRITE));
    contents(key);
    KEY(request("user", "secret", NULL, 0));
    SHOW(ctl(KEYCTL_CHOWN, key, 1000, -1));
    SHOW(ctl(KEYCTL_SETPERM, key, 0x3f3f3f3f));
    described(key);
    // Ends.
    long ended = add("user", "ended", "x", 1, KEY_SPEC_SESSION_KEYRING);
    SHOW(ctl(KEYCTL_SET_TIMEOUT, ended, 1000));
    SHOW(ctl(KEYCTL_REVOKE, ended));
    contents(ended);
    described(ended);
    KEY(request("user", "ended", NULL, 0));
    KEY(ctl(KEYCTL_REVOKE, ended));
    long other = add("user", "other", "x", 1, KEY_SPEC_SESSION_KEYRING);
    SHOW(ctl(KEYCTL_INVALIDATE, other));
    KEY(request("user", "other", NULL, 0));
    KEY(ctl(77));
    // Users'.
    described(KEY_SPEC_USER_KEYRING);
    described(KEY_SPEC_USER_SESSION_KEYRING);
    SIZE(ctl(KEYCTL_READ, KEY_SPEC_USER_SESSION_KEYRING, NULL, 0));
    // What children and programs have of it.
    KEY(add("user", "kept", "x", 1, KEY_SPEC_SESSION_KEYRING));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        KEY(ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 0));
        SHOW(ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0) == session);
        KEY(add("user", "of child", "x", 1, KEY_SPEC_SESSION_KEYRING));
        execl("/proc/self/exe", argv[0], "after", NULL);
        _exit(9);
    }
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    SHOW(status);
    KEY(request("user", "of child", NULL, 0));
    // Another user, in a session of its own. It has a quota.
    pid = fork();
    if (pid == 0) {
        NEED(ctl(KEYCTL_JOIN_SESSION_KEYRING, NULL) > 0);
        NEED(setgid(1000) == 0 && setuid(4711) == 0);
        NEED(ctl(KEYCTL_JOIN_SESSION_KEYRING, "named") > 0);
        described(KEY_SPEC_SESSION_KEYRING);
        described(KEY_SPEC_USER_KEYRING);
        described(session);
        KEY(ctl(KEYCTL_SEARCH, session, "user", "kept", 0));
        KEY(ctl(KEYCTL_REVOKE, session));
        long own = add("user", "own", "x", 1, KEY_SPEC_SESSION_KEYRING);
        KEY(ctl(KEYCTL_CHOWN, own, 0, -1));
        char name[16];
        int count = 0;
        for (errno = 0; count < 1000; count++) {
            snprintf(name, sizeof name, "key %d", count);
            if (add("user", name, "x", 1, KEY_SPEC_SESSION_KEYRING) == -1)
                break;
        }
        printf("%s after %s\n", name_of(errno), count > 150 && count < 200 ? "nearly 200" : "other");
        SHOW(ctl(KEYCTL_CLEAR, KEY_SPEC_SESSION_KEYRING));
        static char large[30000];
        KEY(add("user", "large", large, sizeof large, KEY_SPEC_SESSION_KEYRING));
        _exit(0);
    }
    NEED(waitpid(pid, &status, 0) == pid);
    SHOW(status);
    // Keyrings in keyrings, which all go with the first.
    pid = fork();
    if (pid == 0) {
        NEED(ctl(KEYCTL_JOIN_SESSION_KEYRING, NULL) > 0);
        NEED(setgid(1000) == 0 && setuid(4712) == 0);
        NEED(ctl(KEYCTL_JOIN_SESSION_KEYRING, NULL) > 0);
        char name[16];
        long before = 0;
        int count = 0;
        for (; count < 150; count++) {
            snprintf(name, sizeof name, "ring %d", count);
            long ring = add("keyring", name, NULL, 0, KEY_SPEC_SESSION_KEYRING);
            if (ring < 0 || (before != 0 && ctl(KEYCTL_LINK, ring, before) != 0))
                break;
            before = ring;
        }
        SHOW(count);
        SHOW(ctl(KEYCTL_CLEAR, KEY_SPEC_SESSION_KEYRING));
        _exit(0);
    }
    NEED(waitpid(pid, &status, 0) == pid);
    SHOW(status);
    DONE();
}
