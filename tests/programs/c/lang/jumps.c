// setjmp and longjmp, makecontext and swapcontext: stacks of the program's own making.
#include "t.h"
#include <setjmp.h>
#include <ucontext.h>

static jmp_buf out;
static void deep(int n) {
    if (n == 0)
        longjmp(out, 5);
    deep(n - 1);
}
static ucontext_t main_context, other_context;
static void coroutine(int a, int b) {
    for (int i = 0; i < 3; i++) {
        printf("coroutine %d\n", a * 10 + b + i);
        swapcontext(&other_context, &main_context);
    }
}

int main(void) {
    int n = setjmp(out);
    SHOW(n);
    if (n == 0)
        deep(100);
    static char stack[65536];
    getcontext(&other_context);
    other_context.uc_stack = (stack_t){.ss_sp = stack, .ss_size = sizeof stack};
    other_context.uc_link = &main_context;
    makecontext(&other_context, (void (*)(void))coroutine, 2, 4, 2);
    for (int i = 0; i < 4; i++) {
        printf("main %d\n", i);
        swapcontext(&main_context, &other_context);
    }
    puts("done");
    DONE();
}
