// Code made at run time runs once its page is executable, and not before; read-only text can't be written.
#include "t.h"
#include <setjmp.h>

static sigjmp_buf out;
static void caught(int signal) { siglongjmp(out, signal); }
__attribute__((noinline)) static int constant(int x) { return x + 1; }

int main(void) {
    signal(SIGSEGV, caught);
    // A function that returns 42, which the byte at PLACE makes into 43.
#ifdef __aarch64__
    enum { PLACE = 0, OTHER = 0x60 };
    static const unsigned char code[] = {0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6}; // mov w0, #42; ret
#else
    enum { PLACE = 1, OTHER = 43 };
    static const unsigned char code[] = {0xb8, 0x2a, 0, 0, 0, 0xc3}; // mov $42, %eax; ret
#endif
    unsigned char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page, code, sizeof code);
    int (*function)(void) = (int (*)(void))(uintptr_t)page;
    if (sigsetjmp(out, 1) == 0)
        SHOW(function());
    else
        puts("a writable page does not execute");
    SHOW(mprotect(page, 4096, PROT_READ | PROT_EXEC));
    __builtin___clear_cache((char *)page, (char *)page + sizeof code);
    SHOW(function());
    if (sigsetjmp(out, 1) == 0)
        page[PLACE] = OTHER;
    else
        puts("an executable page can't be written");
    SHOW(mprotect(page, 4096, PROT_READ | PROT_WRITE));
    page[PLACE] = OTHER;
    SHOW(mprotect(page, 4096, PROT_READ | PROT_EXEC));
    __builtin___clear_cache((char *)page, (char *)page + sizeof code);
    SHOW(function());
    if (sigsetjmp(out, 1) == 0)
        *(volatile unsigned char *)(uintptr_t)constant = 0xc3;
    else
        puts("the program's text can't be written");
    SHOW(constant(1));
    unsigned char stack_code[16];
    memcpy(stack_code, code, sizeof code);
    if (sigsetjmp(out, 1) == 0)
        ((int (*)(void))(uintptr_t)stack_code)();
    else
        puts("the stack does not execute");
    if (sigsetjmp(out, 1) == 0)
        ((int (*)(void))(uintptr_t)code)();
    else
        puts("constants do not execute");
    DONE();
}
