// Every protection of mmap(2), set before or after a page was touched. Each kind of access by the program and by the
// kernel is allowed, or refused with SIGSEGV or EFAULT. x86 reads what it may write or execute.
#include "t.h"
#include <setjmp.h>

static sigjmp_buf back;
static void handler(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    siglongjmp(back, info->si_code);
}

static volatile char sink;

static const char *program_access(char *p, int write) {
    int code = sigsetjmp(back, 1);
    if (code)
        return code == SEGV_ACCERR ? "SEGV_ACCERR" : code == SEGV_MAPERR ? "SEGV_MAPERR" : "another fault";
    if (write)
        *(volatile char *)p = 'w';
    else
        sink = *(volatile char *)p;
    return "ok";
}

static const char *kernel_access(char *p, int write_to_it) {
    int ends[2];
    NEED(pipe(ends) == 0);
    NEED(write(ends[1], "k", 1) == 1);
    ssize_t n = write_to_it ? read(ends[0], p, 1) : write(ends[1], p, 1);
    const char *result = n == 1 ? "ok" : t_errno(errno);
    close(ends[0]);
    close(ends[1]);
    return result;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    enter_scratch();
    write_file("file", "contents of the file");
    int fd = open("file", O_RDWR);
    const char *kinds[] = {"private", "shared", "private file", "shared file"};
    for (int kind = 0; kind < 4; kind++)
        for (int touched = 0; touched < 3; touched++)
            for (int prot = 0; prot < 8; prot++) {
                // Whether a page that may only be executed may be read depends on the CPU (protection keys).
                if (prot == PROT_EXEC)
                    continue;
                printf("%s, %s, %c%c%c:", kinds[kind], touched == 0 ? "untouched" : touched == 1 ? "read" : "written",
                       prot & PROT_READ ? 'r' : '-', prot & PROT_WRITE ? 'w' : '-', prot & PROT_EXEC ? 'x' : '-');
                for (int access = 0; access < 4; access++) {
                    int flags = kind % 2 ? MAP_SHARED : MAP_PRIVATE;
                    char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags | (kind < 2 ? MAP_ANONYMOUS : 0),
                                   kind < 2 ? -1 : fd, 0);
                    NEED(p != MAP_FAILED);
                    if (touched == 1)
                        sink = *p;
                    if (touched == 2)
                        *p = 't';
                    NEED(mprotect(p, 4096, prot) == 0);
                    printf(" %s", access < 2 ? program_access(p, access) : kernel_access(p, access - 2));
                    // Back to all rights, and the page is as it was left.
                    NEED(mprotect(p, 4096, PROT_READ | PROT_WRITE) == 0);
                    *p = 'x';
                    NEED(*p == 'x');
                    munmap(p, 4096);
                }
                puts("");
            }
    // In a fresh mapping.
    for (int prot = 0; prot < 8; prot++) {
        if (prot == PROT_EXEC)
            continue;
        char *p = mmap(NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        printf("fresh %d: %s", prot, program_access(p, 0));
        printf(" %s", kernel_access(p, 0));
        printf(" %s", program_access(p, 1));
        printf(" %s\n", kernel_access(p, 1));
    }
    DONE();
}
