// memfd_secret(2): memory that only its own page tables lead to. Other processes, debuggers, and devices are refused, and so is read(2) on the file.
#include "t.h"
#include <linux/futex.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#define PAGE 4096L

static int secret(unsigned flags) { return syscall(SYS_memfd_secret, flags); }
static void *map(size_t len, int protection, int flags, int fd) { return mmap(NULL, len, protection, flags, fd, 0); }
static bool refused(void *at) { return at == MAP_FAILED; }

static void file_calls(void) {
    char byte = 'x', name[64] = "";
    struct stat st;
    SHOW(secret(1));
    SHOW(secret(O_NONBLOCK));
    int fd = secret(0), other = secret(O_CLOEXEC);
    NEED(fd >= 0 && other >= 0);
    SHOW(fcntl(fd, F_GETFD));
    SHOW(fcntl(other, F_GETFD));
    SHOW((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR);
    SHOW(read(fd, &byte, 1));
    SHOW(write(fd, &byte, 1));
    SHOW(pread(fd, &byte, 1, 0));
    SHOW(pwrite(fd, &byte, 1, 0));
    SHOW(lseek(fd, 0, SEEK_SET));
    SHOW(fallocate(fd, 0, 0, PAGE));
    SHOW(fsync(fd));
    SHOW(fcntl(fd, F_GET_SEALS));
    NEED(fstat(fd, &st) == 0);
    printf("mode %o, size %ld, links %ld\n", st.st_mode, (long)st.st_size, (long)st.st_nlink);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    char target[64] = "";
    SHOW(readlink(name, target, sizeof target - 1) > 0);
    puts(target);
    SHOW(ftruncate(fd, 2 * PAGE));
    SHOW(ftruncate(fd, 3 * PAGE));
    SHOW(ftruncate(fd, 0));
    NEED(fstat(fd, &st) == 0 && st.st_size == 2 * PAGE);
    SHOW(refused(map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd)));
    SHOW(refused(map(PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd)));
    close(fd);
    close(other);
}

static void fault(int signal, siginfo_t *info, void *context) {
    printf("signal %d, code %d\n", signal, info->si_code);
    fflush(stdout);
    _exit(0);
}

static void pages(int fd, char *at) {
    unsigned char present[2] = {9, 9};
    SHOW(mincore(at, PAGE, present));
    strcpy(at, "a secret");
    strcpy(at + PAGE, "another");
    SHOW(mprotect(at, PAGE, PROT_READ | PROT_EXEC));
    SHOW(mprotect(at, PAGE, PROT_READ));
    SHOW(mprotect(at, PAGE, PROT_READ | PROT_WRITE));
    SHOW(madvise(at, PAGE, MADV_DONTNEED));
    SHOW(madvise(at, PAGE, MADV_POPULATE_READ));
    SHOW(mlock(at, PAGE));
    SHOW(munlock(at, PAGE));
    SHOW(madvise(at, PAGE, MADV_DONTNEED));
    // The same pages seen twice.
    char *again = map(2 * PAGE, PROT_READ, MAP_SHARED, fd);
    NEED(!refused(again));
    puts(again);
    munmap(again, 2 * PAGE);
    // What calls copy themselves is copied.
    int ends[2];
    char copy[32] = "";
    NEED(pipe(ends) == 0);
    SHOW(write(ends[1], at, 9));
    SHOW(read(ends[0], at + 100, 9));
    puts(at + 100);
    struct iovec piece = {at, 9}, out = {copy, 9};
    SHOW(vmsplice(ends[1], &piece, 1, SPLICE_F_NONBLOCK));
    SHOW(process_vm_readv(getpid(), &out, 1, &piece, 1, 0));
    SHOW(syscall(SYS_futex, at + 200, FUTEX_WAKE, 1, NULL, NULL, 0));
    SHOW(syscall(SYS_futex, at + 200, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    int memory = open("/proc/self/mem", O_RDWR);
    NEED(memory >= 0);
    SHOW(pread(memory, copy, 9, (long)at));
    SHOW(pwrite(memory, "open", 5, (long)at));
    close(memory);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        printf("the child reads: %s\n", at);
        strcpy(at, "by a child");
        struct sigaction act = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};
        sigaction(SIGBUS, &act, NULL);
        char *beyond = map(3 * PAGE, PROT_READ, MAP_SHARED, fd);
        NEED(!refused(beyond));
        fflush(stdout);
        printf("beyond the end: %d\n", *(volatile char *)(beyond + 2 * PAGE));
        _exit(1);
    }
    int status;
    NEED(waitpid(child, &status, 0) == child);
    printf("status %x, memory: %s\n", status, at);
}

static void traced(char *at) {
    char own[] = "in the open", copy[16] = "";
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        NEED(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
        raise(SIGSTOP);
        _exit(*at == 'b' ? 0 : 1);
    }
    int status;
    NEED(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
    struct iovec here = {copy, 12}, there[2] = {{own, 6}, {at, 6}};
    SHOW(process_vm_readv(child, &here, 1, there, 2, 0));
    SHOW(process_vm_readv(child, &here, 1, there + 1, 1, 0));
    SHOW(process_vm_writev(child, &here, 1, there + 1, 1, 0));
    SHOW(ptrace(PTRACE_PEEKDATA, child, at, 0));
    SHOW(ptrace(PTRACE_POKEDATA, child, at, 0));
    SHOW(ptrace(PTRACE_PEEKDATA, child, own, 0) != -1);
    NEED(ptrace(PTRACE_CONT, child, 0, 0) == 0 && waitpid(child, &status, 0) == child);
    printf("status %x\n", status);
}

// As a user without CAP_IPC_LOCK.
static void limits(void) {
    if (geteuid() == 0)
        NEED(setresgid(1000, 1000, 1000) == 0 && setresuid(1000, 1000, 1000) == 0);
    struct rlimit limit = {4 * PAGE, 4 * PAGE};
    int fd = secret(0);
    NEED(fd >= 0 && ftruncate(fd, 64 * PAGE) == 0 && setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    // Two pages are mapped already.
    SHOW(refused(map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd)));
    char *first = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    SHOW(refused(first));
    SHOW(refused(mremap(first, PAGE, 3 * PAGE, MREMAP_MAYMOVE)));
    SHOW(errno == EAGAIN);
    SHOW(refused(map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd)));
    SHOW(munmap(first, PAGE));
    SHOW(refused(map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd)));
    limit.rlim_cur = 0;
    NEED(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    SHOW(refused(map(PAGE, PROT_READ, MAP_SHARED, fd)));
}

int main(void) {
    file_calls();
    int fd = secret(0);
    NEED(fd >= 0 && ftruncate(fd, 2 * PAGE) == 0);
    char *at = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    NEED(!refused(at));
    pages(fd, at);
    traced(at);
    limits();
    DONE();
}
