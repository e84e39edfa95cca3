// ptrace: registers at a process's end, values of registers that are refused, memory that the program itself may not read, processes
// that wait to be waited for, and areas of rseq of other lengths.
// arch: x86-64
#include "t.h"
#include <elf.h>
#include <linux/rseq.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#define AT_RSEQ_ALIGN 28
#endif

static char *hidden;

static int wait_for(pid_t pid) {
    int status;
    NEED(waitpid(pid, &status, __WALL) == pid);
    return status;
}

static void values(pid_t pid) {
#ifdef __x86_64__
    struct user_regs_struct regs, wrong;
    NEED(ptrace(PTRACE_GETREGS, pid, 0, &regs) == 0);
    printf("cs %llx ss %llx ds %llx es %llx fs %llx gs %llx\n", regs.cs, regs.ss, regs.ds, regs.es, regs.fs, regs.gs);
#define TRY(member, value) (wrong = regs, wrong.member = (value), ptrace(PTRACE_SETREGS, pid, 0, &wrong))
    SHOW(TRY(cs, 0));
    SHOW(TRY(cs, 0x10));
    SHOW(TRY(ss, 0));
    SHOW(TRY(ss, 0x18));
    SHOW(TRY(ds, 0x18));
    SHOW(TRY(fs, 0x8));
    SHOW(TRY(fs_base, 0xffff800000000000));
    SHOW(TRY(gs_base, 0x800000000000));
    SHOW(TRY(eflags, regs.eflags | 0x3000));
    NEED(ptrace(PTRACE_GETREGS, pid, 0, &wrong) == 0);
    printf("I/O privilege level %llx\n", wrong.eflags & 0x3000);
    struct iovec vector = {&wrong, sizeof wrong};
    wrong.cs = 3 << 3;
    SHOW(ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &vector));
    SHOW(ptrace(PTRACE_SETREGS, pid, 0, &regs));
    SHOW(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, regs.cs), 0));
    SHOW(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, regs.ss), 0x28));
    SHOW(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, regs.cs), regs.cs));
    SHOW(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_tsize), 0));
    SHOW(ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_tsize), 0));
    SHOW(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), 0));
    SHOW(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), 0));
    SHOW(ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg[7]), 0));
    SHOW(ptrace(PTRACE_POKEUSER, pid, sizeof(struct user), 0));
    struct user_fpregs_struct fp, wrong_fp;
    NEED(ptrace(PTRACE_GETFPREGS, pid, 0, &fp) == 0);
    wrong_fp = fp;
    wrong_fp.mxcsr = 0xffffffff;
    SHOW(ptrace(PTRACE_SETFPREGS, pid, 0, &wrong_fp));
    vector = (struct iovec){&wrong_fp, sizeof wrong_fp};
    SHOW(ptrace(PTRACE_SETREGSET, pid, NT_PRFPREG, &vector));
    vector = (struct iovec){&fp, sizeof fp - 8};
    SHOW(ptrace(PTRACE_SETREGSET, pid, NT_PRFPREG, &vector));
    fp.xmm_space[0] = 0x12345678;
    SHOW(ptrace(PTRACE_SETFPREGS, pid, 0, &fp));
    NEED(ptrace(PTRACE_GETFPREGS, pid, 0, &wrong_fp) == 0);
    printf("xmm0 %x\n", wrong_fp.xmm_space[0]);
    static char area[16384] __attribute__((aligned(64)));
    vector = (struct iovec){area, sizeof area};
    NEED(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &vector) == 0);
    uint64_t *header = (uint64_t *)(area + 512), kept = header[0];
    SHOW(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &vector));
    header[0] = kept | 1ull << 62;
    SHOW(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &vector));
    header[0] = kept, header[1] = 1;
    SHOW(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &vector));
    vector.iov_len -= 8;
    SHOW(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &vector));
#endif
}

static void memory(pid_t pid) {
    char path[64], byte = 0, bytes[3] = "";
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = open(path, O_RDWR);
    NEED(fd >= 0);
    SHOW(pread(fd, &byte, 1, (off_t)(uintptr_t)hidden));
    printf("a page that was touched: '%c'\n", byte);
    SHOW(pread(fd, &byte, 1, (off_t)(uintptr_t)hidden + 4096));
    printf("one that was not: %d\n", byte);
    SHOW(pwrite(fd, "w", 1, (off_t)(uintptr_t)hidden + 1));
    SHOW(pwrite(fd, "w", 1, (off_t)(uintptr_t)hidden + 4097));
    SHOW(pread(fd, bytes, 2, (off_t)(uintptr_t)hidden));
    printf("now '%s'\n", bytes);
    SHOW(pread(fd, bytes, 2, (off_t)(uintptr_t)hidden + 4096));
    printf("and %d '%c'\n", bytes[0], bytes[1]);
    SHOW(pread(fd, bytes, 2, (off_t)(uintptr_t)hidden + 3 * 4096 - 1));
    SHOW(pread(fd, bytes, 2, (off_t)(uintptr_t)hidden + 3 * 4096));
    SHOW((char)ptrace(PTRACE_PEEKDATA, pid, hidden, 0) == 'h');
    struct iovec local = {bytes, 1}, remote = {hidden, 1};
    SHOW(process_vm_readv(pid, &local, 1, &remote, 1, 0));
    close(fd);
}

static void child(void) {
    NEED(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
    raise(SIGSTOP);
    NEED(mprotect(hidden, 4096, PROT_READ) == 0);
    syscall(SYS_exit_group, hidden[1] == 'w' ? 7 : 8);
}

static void end_of(pid_t pid, const char *what) {
#ifdef __x86_64__
    struct user_regs_struct regs = {0};
    SHOW(ptrace(PTRACE_GETREGS, pid, 0, &regs));
    printf("%s: call %lld, %s, %s, %s\n", what, (long long)regs.orig_rax, regs.rdi == 7 ? "rdi 7" : "another rdi",
           regs.rip ? "an rip" : "no rip", regs.rsp ? "a stack" : "no stack");
#else
    struct user_regs_struct regs = {0};
    struct iovec vector = {&regs, sizeof regs};
    SHOW(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &vector));
    printf("%s: %s, %s\n", what, regs.pc ? "a pc" : "no pc", regs.sp ? "a stack" : "no stack");
#endif
}

static void sequences(void) {
    printf("features %lu, align %lu\n", getauxval(AT_RSEQ_FEATURE_SIZE), getauxval(AT_RSEQ_ALIGN));
    static struct { char bytes[128]; } area __attribute__((aligned(128)));
    // The C library may have one registered.
    pid_t pid = fork();
    if (pid == 0) {
        extern const ptrdiff_t __rseq_offset __attribute__((weak));
        extern const unsigned int __rseq_size __attribute__((weak));
        if (&__rseq_size && __rseq_size)
            NEED(syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32, 1, 0x53053053) == 0);
        SHOW(syscall(SYS_rseq, &area, 16, 0, 1));
        SHOW(syscall(SYS_rseq, (char *)&area + 16, 64, 0, 1));
        SHOW(syscall(SYS_rseq, &area, 64, 0, 1));
        SHOW(syscall(SYS_rseq, &area, 32, 0, 1));
        SHOW(syscall(SYS_rseq, &area, 64, 0, 2));
        SHOW(syscall(SYS_rseq, &area, 64, 0, 1));
        SHOW(((struct rseq *)&area)->cpu_id < 4096);
        SHOW(syscall(SYS_rseq, &area, 32, 1, 1));
        SHOW(syscall(SYS_rseq, &area, 64, 1, 2));
        SHOW(syscall(SYS_rseq, &area, 64, 1, 1));
        SHOW((int)((struct rseq *)&area)->cpu_id == -1);
        fflush(stdout);
        _exit(0);
    }
    wait_for(pid);
}

int main(void) {
    hidden = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(hidden != MAP_FAILED);
    NEED(munmap(hidden + 3 * 4096, 4096) == 0);
    hidden[0] = 'h';
    NEED(mprotect(hidden, 3 * 4096, PROT_NONE) == 0);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0)
        child();
    wait_for(pid);
    values(pid);
    memory(pid);
    SHOW(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEEXIT));
    SHOW(ptrace(PTRACE_CONT, pid, 0, 0));
    printf("at its end: %x\n", wait_for(pid));
    end_of(pid, "exit_group");
    SHOW(ptrace(PTRACE_CONT, pid, 0, 0));
    printf("status %x\n", wait_for(pid));

    // By a signal.
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        for (;;)
            pause();
    }
    wait_for(pid);
    SHOW(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEEXIT));
    SHOW(ptrace(PTRACE_CONT, pid, 0, SIGTERM));
    printf("at its end: %x\n", wait_for(pid));
    end_of(pid, "SIGTERM");
    SHOW(ptrace(PTRACE_CONT, pid, 0, 0));
    printf("status %x\n", wait_for(pid));

    // One that has ended, and waits.
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        _exit(0);
    siginfo_t info;
    NEED(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0);
    SHOW(ptrace(PTRACE_ATTACH, pid, 0, 0));
    SHOW(ptrace(PTRACE_SEIZE, pid, 0, 0));
    SHOW(ptrace(PTRACE_CONT, pid, 0, 0));
    wait_for(pid);
    SHOW(ptrace(PTRACE_ATTACH, pid, 0, 0));
    sequences();
    DONE();
}
