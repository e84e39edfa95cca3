// mprotect takes and gives rights page by page; a forbidden access raises SIGSEGV at that address with SEGV_ACCERR.
#include "t.h"
#include <setjmp.h>

static sigjmp_buf out;
static char *where;
static int code;
static void caught(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    where = info->si_addr;
    code = info->si_code;
    siglongjmp(out, 1);
}

static char *base;
static void attempt(const char *what, volatile char *p, int write) {
    where = NULL;
    if (sigsetjmp(out, 1) == 0) {
        if (write)
            *p = 1;
        else
            (void)*p;
        printf("%s: fine\n", what);
    } else {
        printf("%s: SIGSEGV at +%td, %s\n", what, where - base,
               code == SEGV_ACCERR ? "ACCERR" : code == SEGV_MAPERR ? "MAPERR" : "?");
    }
}

int main(void) {
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    base = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(base, 1, 4 * 4096);
    SHOW(mprotect(base + 4096, 4096, PROT_READ));
    SHOW(mprotect(base + 8192, 4096, PROT_NONE));
    attempt("read 0", base, 0);
    attempt("write 0", base + 5, 1);
    attempt("read 1", base + 4096, 0);
    attempt("write 1", base + 4096 + 17, 1);
    attempt("read 2", base + 8192 + 3, 0);
    attempt("write 2", base + 8192, 1);
    attempt("write 3", base + 3 * 4096, 1);
    SHOW(mprotect(base, 4 * 4096, PROT_READ | PROT_WRITE));
    attempt("write 1 again", base + 4096 + 17, 1);
    attempt("write 2 again", base + 8192, 1);
    munmap(base + 8192, 4096);
    attempt("read hole", base + 8192, 0);
    SHOW(mprotect(base, 4 * 4096, PROT_READ));
    SHOW(mprotect(base + 1, 4096, PROT_READ));
    attempt("write constant", (char *)(uintptr_t)"text", 0);
    DONE();
}
