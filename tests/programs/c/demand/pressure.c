// Pages of a program that is paged in from a disk: more than memory holds go for those that are used, and come back.
// flags: -O1
// memory: 12M
// demand: yes
// machines: all
#include "t.h"
#include <sys/wait.h>

#define PAGES 2048
#define PAGE 4096
#define ROUNDS 3
#define BUFFER (2 << 20)

// One function a page, each with a number of its own: 8 MiB of text.
__asm__(".text\n"
        ".balign 4096\n"
        "functions:\n"
        ".set number, 0\n"
        ".rept 2048\n"
        "  movl $(number * 2654435761 + 1) & 0x7fffffff, %eax\n"
        "  ret\n"
        "  .balign 4096\n"
        "  .set number, number + 1\n"
        ".endr\n"
        ".previous\n");
extern char functions[] __attribute__((visibility("hidden")));

static unsigned call(unsigned page) {
    // Not known to the compiler.
    char *volatile start = functions;
    return ((unsigned (*)(void))(void *)(start + (size_t)page * PAGE))();
}

static unsigned wanted(unsigned page) { return (unsigned)((page * 2654435761u + 1) & 0x7fffffff); }

// Calls all of them, in an order that read-ahead does not guess.
static unsigned wrong(unsigned step) {
    unsigned failures = 0;
    for (unsigned i = 0, page = 0; i < PAGES; i++, page = (page + step) % PAGES)
        failures += call(page) != wanted(page);
    return failures;
}

int main(void) {
    unsigned char *own = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(own != MAP_FAILED);
    for (int round = 0; round < ROUNDS; round++) {
        memset(own, round + 1, BUFFER);
        SHOW(wrong(round == 0 ? 1 : 389));
        unsigned kept = 0;
        for (size_t at = 0; at < BUFFER; at += PAGE)
            kept += own[at] == round + 1;
        SHOW(kept == BUFFER / PAGE);
    }
    // Two processes share the pages, and lose them together.
    pid_t child = fork();
    NEED(child >= 0);
    unsigned failures = wrong(child == 0 ? 1021 : 577);
    if (child == 0)
        _exit(failures != 0);
    int status;
    SHOW(failures);
    NEED(waitpid(child, &status, 0) == child);
    SHOW(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    // Locked pages stay: none of them has to be read again.
    SHOW(mlock(functions, 64 * PAGE));
    SHOW(wrong(389));
    unsigned char there[64];
    SHOW(mincore(functions, sizeof there * PAGE, there));
    unsigned locked = 0;
    for (size_t i = 0; i < sizeof there; i++)
        locked += there[i] & 1;
    SHOW(locked);
    DONE();
}
