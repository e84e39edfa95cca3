// Capability sets: what changes of ids, execution, capset(2) and prctl(2) do to them (capabilities(7)); which ids a process may choose.
#include "../t.h"
#include <linux/capability.h>
#include <grp.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static uint64_t sets[3];

// Reads the effective, permitted and inheritable sets.
static void read_sets(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    CHECK(syscall(SYS_capget, &header, data) == 0);
    sets[0] = data[0].effective | (uint64_t)data[1].effective << 32;
    sets[1] = data[0].permitted | (uint64_t)data[1].permitted << 32;
    sets[2] = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
}

static int set(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {
        {effective, permitted, inheritable},
        {effective >> 32, permitted >> 32, inheritable >> 32},
    };
    return syscall(SYS_capset, &header, data);
}

static void show(const char *when) {
    read_sets();
    printf("%s: effective %s, permitted %s, inheritable %s\n", when, sets[0] ? "some" : "none", sets[1] ? "some" : "none",
           sets[2] ? "some" : "none");
}

#define BIT(cap) (1ull << (cap))

static void users(void) {
    SHOW(setreuid(-1, 1000));
    show("effective id of a user");
    SHOW(setreuid(-1, 0));
    show("effective id of root again");
    SHOW(setresuid(1000, 1001, 1002));
    show("a user");
    SHOW(setreuid(1001, -1));
    SHOW(setreuid(1002, -1));
    SHOW(setresuid(-1, -1, 1001));
    SHOW(setresuid(-1, -1, 1003));
    SHOW(setuid(1003));
    SHOW(setuid(0));
    SHOW(setgroups(0, NULL));
    SHOW(prctl(PR_GET_DUMPABLE));
}

static void kept(void) {
    SHOW(prctl(PR_GET_KEEPCAPS));
    SHOW(prctl(PR_SET_KEEPCAPS, 1));
    SHOW(prctl(PR_SET_KEEPCAPS, 2));
    SHOW(setuid(1000));
    show("kept");
    SHOW(set(BIT(CAP_SETUID), BIT(CAP_SETUID), 0));
    SHOW(setuid(1234));
    show("with CAP_SETUID");
    SHOW(set(BIT(CAP_KILL), BIT(CAP_SETUID) | BIT(CAP_KILL), 0));
    SHOW(set(0, 0, 0));
    SHOW(setuid(1235));
}

static void bounds(void) {
    SHOW(prctl(PR_CAPBSET_READ, CAP_KILL));
    SHOW(prctl(PR_CAPBSET_DROP, CAP_KILL));
    SHOW(prctl(PR_CAPBSET_READ, CAP_KILL));
    SHOW(prctl(PR_CAPBSET_READ, 500));
    SHOW(prctl(PR_CAPBSET_DROP, 500));
    read_sets();
    SHOW(sets[0] >> CAP_KILL & 1);
    // What is not in the bounding set can't become inheritable.
    SHOW(set(sets[0], sets[1], BIT(CAP_KILL)));
    SHOW(set(sets[0], sets[1], BIT(CAP_CHOWN)));
    SHOW(set(sets[0] & ~BIT(CAP_SETPCAP), sets[1], 0));
    SHOW(prctl(PR_CAPBSET_DROP, CAP_CHOWN));
}

static void ambient(void) {
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
    read_sets();
    SHOW(set(sets[0], sets[1], BIT(CAP_CHOWN) | BIT(CAP_FOWNER)));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_FOWNER, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_FOWNER, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_FOWNER, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 1, 0));
    SHOW(prctl(PR_CAP_AMBIENT, 99, CAP_CHOWN, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0));
}

static void secure(void) {
    SHOW(prctl(PR_GET_SECUREBITS));
    SHOW(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED));
    SHOW(prctl(PR_GET_SECUREBITS));
    SHOW(prctl(PR_SET_SECUREBITS, 0));
    SHOW(prctl(PR_SET_SECUREBITS, 1 << 20));
    SHOW(setresuid(1000, 1000, 1000));
    show("without fix-up");
}

// Begins this program anew, which shows its sets.
static void execute(const char *name) {
    fflush(stdout);
    execl("/proc/self/exe", "capabilities", name, NULL);
    CHECK(!"executed");
}

static void executed_by_root(void) {
    CHECK(set(0, 0, 0) == 0);
    execute("root has all again");
}

static void executed_by_user(void) {
    CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0 && setuid(1000) == 0);
    execute("a user has none");
}

static void executed_with_ambient(void) {
    CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0 && setuid(1000) == 0);
    CHECK(set(0, BIT(CAP_CHOWN), BIT(CAP_CHOWN)) == 0);
    CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0) == 0);
    execute("ambient ones stay");
}

static void no_new_privileges(void) {
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

// A copy of this program, owned by another user and with set-ID bits, in a directory that is searched by all.
static char copy[64];

static void set_id(void) {
    CHECK(setgid(1000) == 0 && setuid(1000) == 0);
    fflush(stdout);
    execl(copy, "capabilities", "ids", NULL);
    CHECK(!"executed");
}

static void set_id_refused(void) {
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    set_id();
}

static void make_copy(void) {
    strcpy(copy, "/tmp/capabilities_XXXXXX");
    CHECK(mkdtemp(copy) && chmod(copy, 0755) == 0);
    strcat(copy, "/program");
    int from = open("/proc/self/exe", O_RDONLY), to = open(copy, O_WRONLY | O_CREAT, 0755);
    ssize_t count;
    char bytes[4096];
    while ((count = read(from, bytes, sizeof bytes)) > 0)
        CHECK(write(to, bytes, count) == count);
    CHECK(close(from) == 0 && fchown(to, 2000, 2001) == 0 && fchmod(to, 06755) == 0 && close(to) == 0);
}

static void in_child(const char *name, void (*body)(void)) {
    printf("-- %s\n", name);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        body();
        fflush(stdout);
        _exit(t_failures != 0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "ids") == 0) {
        uid_t uid[3];
        gid_t gid[3];
        CHECK(getresuid(uid, uid + 1, uid + 2) == 0 && getresgid(gid, gid + 1, gid + 2) == 0);
        printf("users %d %d %d, groups %d %d %d, dumpable %d\n", uid[0], uid[1], uid[2], gid[0], gid[1], gid[2],
               prctl(PR_GET_DUMPABLE));
        return 0;
    }
    if (argc > 1) {
        show(argv[1]);
        return 0;
    }
    if (getuid() != 0) {
        printf("not run by root\n");
        return 0;
    }
    in_child("users", users);
    in_child("kept", kept);
    in_child("bounds", bounds);
    in_child("ambient", ambient);
    in_child("secure bits", secure);
    in_child("executed by root", executed_by_root);
    in_child("executed by a user", executed_by_user);
    in_child("executed with ambient capabilities", executed_with_ambient);
    in_child("no new privileges", no_new_privileges);
    make_copy();
    in_child("set-ID", set_id);
    in_child("set-ID refused", set_id_refused);
    CHECK(unlink(copy) == 0);
    *strrchr(copy, '/') = 0;
    CHECK(rmdir(copy) == 0);
    return t_failures != 0;
}
