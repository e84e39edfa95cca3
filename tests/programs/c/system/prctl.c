// prctl: names of threads, dumpable, no-new-privileges, parent-death signal, capabilities; unknown options.
#include "t.h"
#include <linux/capability.h>
#include <pthread.h>
#include <sys/prctl.h>

static void *named(void *unused) {
    (void)unused;
    char name[16];
    SHOW(prctl(PR_GET_NAME, name));
    puts(name);
    SHOW_ERROR(pthread_setname_np(pthread_self(), "worker"));
    SHOW_ERROR(pthread_getname_np(pthread_self(), name, sizeof name));
    puts(name);
    return NULL;
}

int main(void) {
    char name[16];
    SHOW(prctl(PR_SET_NAME, "a name of more than sixteen bytes"));
    SHOW(prctl(PR_GET_NAME, name));
    puts(name);
    pthread_t t;
    pthread_create(&t, NULL, named, NULL);
    pthread_join(t, NULL);
    prctl(PR_GET_NAME, name);
    puts(name);
    SHOW(prctl(PR_GET_DUMPABLE));
    SHOW(prctl(PR_SET_DUMPABLE, 0));
    SHOW(prctl(PR_GET_DUMPABLE));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_PDEATHSIG, SIGTERM));
    int signal = 0;
    SHOW(prctl(PR_GET_PDEATHSIG, &signal));
    SHOW(signal);
    SHOW(prctl(123456));
    SHOW(prctl(PR_SET_NAME, 8));
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    SHOW(syscall(SYS_capget, &h, d));
    SHOW(syscall(SYS_personality, 0xffffffff));
    SHOW(syscall(SYS_membarrier, 0, 0, 0) >= 0);
    DONE();
}
