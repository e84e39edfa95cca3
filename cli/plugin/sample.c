/*
 * sample.c: a QEMU TCG plugin that holds the guest once in every N instructions, until the command that runs it has looked at its
 * registers and its stack (`coracle profile --instructions`). Where in each N comes from a fixed sequence: at every Nth itself, a
 * loop whose length has much in common with N would always be found at the same few places.
 *
 * Argument:  fd=N    the socket to the command
 *
 * Words on the socket are of 64 bits, in the host's order. The command writes a period, which begins a profile of a sample for so
 * many instructions from then on; GO, which lets the guest go on that is held; and 0, which does so and ends the profile, as does
 * the end of the socket. The plugin writes the CPU and the address of each sample and the number of periods that it was given so far,
 * 0 included, in three words, and then holds the CPU. QEMU runs all CPUs in
 * one thread (`-icount`), so that they all stand still then, and the guest's clock with them: it counts instructions.
 *
 * The guest is held before the block of instructions in which the one of the sample is, where QEMU has all registers in its memory: within a block
 * it has some in the host's. A block that is left early (a fault in its middle) is counted in full.
 */
#include "qemu.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define GO UINT64_MAX
#define NEVER UINT64_MAX
#define SEED 0x9e3779b97f4a7c15ULL
/* What is handed to the callback of a block: its address above its length. QEMU's blocks have 512 instructions at most. */
#define LENGTH_BITS 10
#define LENGTH_MASK ((1 << LENGTH_BITS) - 1)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;
/* By `lock`: */
static uint64_t period; /* 0: there is no profile */
static bool begins;     /* the period is counted from the next block on */
static uint64_t part;   /* where the present N instructions begin */
static uint64_t noise;
static bool held;
static uint64_t periods;

static int command;
static uint64_t counted; /* by the one thread of all CPUs */
static uint64_t next = NEVER;

/* When the next sample is due: in the N instructions from `part` on. Xorshift (Marsaglia 2003). */
static void arm(void)
{
    noise ^= noise << 13;
    noise ^= noise >> 7;
    noise ^= noise << 17;
    __atomic_store_n(&next, part + noise % period, __ATOMIC_RELAXED);
}

static void sample(unsigned int cpu, uint64_t address)
{
    pthread_mutex_lock(&lock);
    if (period == 0) {
        __atomic_store_n(&next, NEVER, __ATOMIC_RELAXED);
    } else if (begins) {
        begins = false;
        noise = SEED;
        part = counted;
        arm();
    } else {
        part += period;
        arm();
        uint64_t words[3] = {cpu, address, periods};
        held = write(command, words, sizeof words) == sizeof words;
        while (held) {
            pthread_cond_wait(&released, &lock);
        }
    }
    pthread_mutex_unlock(&lock);
}

static void executed(unsigned int cpu, void *block)
{
    int64_t packed = (intptr_t)block;
    counted += packed & LENGTH_MASK;
    if (counted > __atomic_load_n(&next, __ATOMIC_RELAXED)) {
        sample(cpu, (uint64_t)(packed >> LENGTH_BITS));
    }
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    uint64_t packed = qemu_plugin_tb_vaddr(tb) << LENGTH_BITS | (qemu_plugin_tb_n_insns(tb) & LENGTH_MASK);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, QEMU_PLUGIN_CB_NO_REGS, (void *)(uintptr_t)packed);
}

/* Takes the words of the command. */
static void *obey(void *unused)
{
    (void)unused;
    uint64_t word;
    do {
        size_t have = 0;
        while (have < sizeof word) {
            ssize_t more = read(command, (char *)&word + have, sizeof word - have);
            if (more <= 0) {
                word = 0;
                command = -1;
                break;
            }
            have += (size_t)more;
        }
        pthread_mutex_lock(&lock);
        if (word != GO) {
            period = word;
            periods++;
            begins = true;
            __atomic_store_n(&next, word == 0 ? NEVER : 0, __ATOMIC_RELAXED);
        }
        held = false;
        pthread_cond_broadcast(&released);
        pthread_mutex_unlock(&lock);
    } while (command >= 0);
    return NULL;
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    if (argc != 1 || strncmp(argv[0], "fd=", 3) != 0 || !info->system_emulation) {
        fprintf(stderr, "sample plugin: needs fd=N and a system emulator\n");
        return -1;
    }
    command = atoi(argv[0] + 3);
    /* QEMU's signals are for its own threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    if (pthread_create(&thread, NULL, obey, NULL) != 0 || pthread_detach(thread) != 0) {
        fprintf(stderr, "sample plugin: cannot start a thread\n");
        return -1;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
