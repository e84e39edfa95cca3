// clone and clone3 by hand: shared memory and descriptors, TIDs, settls, and the word cleared at the end.
#include "t.h"
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>

static char stack[65536] __attribute__((aligned(16)));
static volatile int shared, seen_tid;
static int tid_set, tid_clear = 1;

static int child(void *argument) {
    shared = *(int *)argument;
    seen_tid = (int)syscall(SYS_gettid);
    close(100);
    syscall(SYS_exit, 0);
    return 0;
}

static void wait_cleared(void) {
    int value;
    while ((value = __atomic_load_n(&tid_clear, __ATOMIC_ACQUIRE)))
        syscall(SYS_futex, &tid_clear, FUTEX_WAIT, value, NULL);
}

int main(void) {
    const int thread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    SHOW(dup2(1, 100));
    int number = 42;
    int tid = clone(child, stack + sizeof stack, thread | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID, &number, &tid_set,
                    NULL, &tid_clear);
    CHECK(tid > 0);
    wait_cleared();
    SHOW(shared);
    SHOW(tid == tid_set);
    SHOW(tid == seen_tid);
    SHOW(tid != getpid());
    SHOW(fcntl(100, F_GETFD));
    SHOW(clone(child, stack + sizeof stack, CLONE_THREAD, NULL));
    SHOW(clone(child, stack + sizeof stack, CLONE_THREAD | CLONE_SIGHAND, NULL));
    // clone3 with a stack: the child starts where the parent's call returns.
    struct clone_args args = {
        .flags = (unsigned long)thread | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
        .child_tid = (uintptr_t)&tid_clear,
        .stack = (uintptr_t)stack,
        .stack_size = sizeof stack,
    };
    tid_clear = 1;
    shared = 0;
#ifdef __aarch64__
    register long number_of_call asm("x8") = SYS_clone3;
    register long result asm("x0") = (long)&args;
    register long a2 asm("x1") = sizeof args;
    asm volatile("svc #0\n"
                 "cbnz x0, 1f\n"
                 "mov w9, #43\n"
                 "str w9, %[shared]\n"
                 "mov x0, #0\n"
                 "mov x8, #93\n"
                 "svc #0\n"
                 "1:"
                 : "+r"(result), [shared] "=m"(shared)
                 : "r"(a2), "r"(number_of_call)
                 : "x9", "memory");
#else
    register long result asm("rax") = SYS_clone3;
    register void *a1 asm("rdi") = &args;
    register long a2 asm("rsi") = sizeof args;
    asm volatile("syscall\n"
                 "test %%eax, %%eax\n"
                 "jnz 1f\n"
                 "movl $43, %[shared]\n"
                 "xor %%edi, %%edi\n"
                 "mov $60, %%eax\n"
                 "syscall\n"
                 "1:"
                 : "+r"(result), [shared] "=m"(shared)
                 : "r"(a1), "r"(a2)
                 : "rcx", "r11", "memory");
#endif
    CHECK(result > 0);
    wait_cleared();
    SHOW(shared);
    SHOW(syscall(SYS_clone3, &args, 8));
    args.flags |= 1UL << 60;
    SHOW(syscall(SYS_clone3, &args, sizeof args));
    DONE();
}
