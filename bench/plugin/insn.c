/*
 * insn.c: a QEMU TCG plugin that counts what the guest executes, into a file the harness maps or reads.
 *
 * Arguments:  counters=PATH    the counter file (created; layout below)
 *             mark=0xADDR      guest address whose every execution is logged (may be repeated, at most MAX_MARKS)
 *             profile=on       also count executions of every translation block (for profiles by function)
 *
 * Counting is done per translation block, by code QEMU inlines into the block: with one CPU nothing is called and
 * nothing is lost. QEMU's inline add is not atomic, so with several CPUs each has a counter of its own,
 * incremented by a callback. A block that is left early (a fault in its middle) is counted in full.
 *
 * QEMU executes a repeated string instruction (`rep movsb`) as one block per repetition, and so counts it as that many
 * instructions. Those are also counted apart (`rep`), so that a reader can tell how much of a figure they are.
 */
#define _GNU_SOURCE
#include "qemu.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The file's layout. Keep it equal to src/counter.rs. */
#define MAGIC 0x314e534e49434f43ULL /* "COCINSN1", little-endian */
#define MAX_VCPUS 64
#define MAX_MARKS 16
#define MAX_LOG 1024
#define MAX_BLOCKS (1u << 20)
#define CODE_BYTES 32

struct cpu_counter {
    uint64_t insns; /* guest instructions, as QEMU counts them */
    uint64_t rep;   /* of these, single repetitions of string instructions */
    uint64_t pad[6];
};
struct log_entry {
    uint64_t address;
    uint64_t insns; /* all CPUs' instructions when the address was reached */
    uint64_t rep;   /* of these, single repetitions of string instructions */
    uint64_t nanos; /* CLOCK_MONOTONIC */
};
struct block {
    uint64_t address;
    uint64_t executions;
    uint32_t insns;
    uint32_t bytes;            /* how many of `code` are set */
    uint8_t code[CODE_BYTES];  /* the first bytes, by which the harness finds the file they came from */
    uint8_t pad[8];
};
struct shared {
    uint64_t magic;
    uint64_t cpus;
    uint64_t start_nanos;
    uint64_t log_len;
    uint64_t blocks_len;
    uint64_t pad[3];
    struct cpu_counter cpu[MAX_VCPUS];
    struct log_entry log[MAX_LOG];
    _Alignas(64) struct block blocks[MAX_BLOCKS];
};

static struct shared *shared;
static bool per_cpu;
static bool profile;
static bool is_x86;
static uint64_t marks[MAX_MARKS];
static size_t marks_len;

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void count_callback(unsigned int cpu, void *insns)
{
    shared->cpu[cpu % MAX_VCPUS].insns += (uintptr_t)insns;
}

static void count_rep_callback(unsigned int cpu, void *insns)
{
    (void)insns;
    shared->cpu[cpu % MAX_VCPUS].rep += 1;
}

static void mark_callback(unsigned int cpu, void *address)
{
    (void)cpu;
    uint64_t total = 0, rep = 0;
    for (size_t i = 0; i < shared->cpus; i++) {
        total += shared->cpu[i].insns;
        rep += shared->cpu[i].rep;
    }
    uint64_t slot = __atomic_fetch_add(&shared->log_len, 1, __ATOMIC_ACQ_REL);
    if (slot < MAX_LOG) {
        shared->log[slot] = (struct log_entry){(uintptr_t)address, total, rep, now()};
    }
}

/* Whether the instruction is MOVS, STOS, LODS, CMPS, SCAS, INS or OUTS with a REP prefix. */
static bool is_repeated_string(const struct qemu_plugin_insn *insn)
{
    const uint8_t *code = qemu_plugin_insn_data(insn);
    size_t size = qemu_plugin_insn_size(insn);
    bool rep = false;
    for (size_t i = 0; i < size; i++) {
        switch (code[i]) {
        case 0xf2: case 0xf3:
            rep = true;
            break;
        case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0x66: case 0x67:
        case 0x40 ... 0x4f:
            break;
        case 0x6c ... 0x6f: case 0xa4 ... 0xa7: case 0xaa ... 0xaf:
            return rep;
        default:
            return false;
        }
    }
    return false;
}

/* The counter of a block. A block translated again after a flush of QEMU's cache gets its old counter back. */
static struct block *block_slot(const struct qemu_plugin_tb *tb, size_t insns)
{
    uint8_t code[CODE_BYTES] = {0};
    size_t bytes = 0;
    for (size_t i = 0; i < insns && bytes < CODE_BYTES; i++) {
        const struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        size_t size = qemu_plugin_insn_size(insn);
        if (size > CODE_BYTES - bytes) {
            size = CODE_BYTES - bytes;
        }
        memcpy(code + bytes, qemu_plugin_insn_data(insn), size);
        bytes += size;
    }
    uint64_t address = qemu_plugin_tb_vaddr(tb);
    uint64_t hash = (address ^ insns) * 0x9e3779b97f4a7c15ULL;
    for (size_t probe = 0; probe < MAX_BLOCKS; probe++) {
        struct block *block = &shared->blocks[((hash >> 40) + probe) % MAX_BLOCKS];
        if (block->insns == 0) {
            block->address = address;
            block->insns = (uint32_t)insns;
            block->bytes = (uint32_t)bytes;
            memcpy(block->code, code, CODE_BYTES);
            shared->blocks_len++;
            return block;
        }
        if (block->address == address && block->insns == insns && memcmp(block->code, code, CODE_BYTES) == 0) {
            return block;
        }
    }
    return NULL;
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    size_t insns = qemu_plugin_tb_n_insns(tb);
    uint64_t address = qemu_plugin_tb_vaddr(tb);

    for (size_t i = 0; i < marks_len; i++) {
        if (marks[i] == address) {
            qemu_plugin_register_vcpu_tb_exec_cb(tb, mark_callback, QEMU_PLUGIN_CB_NO_REGS,
                                                 (void *)(uintptr_t)address);
        }
    }
    bool rep = is_x86 && insns == 1 && is_repeated_string(qemu_plugin_tb_get_insn(tb, 0));
    if (per_cpu) {
        qemu_plugin_register_vcpu_tb_exec_cb(tb, count_callback, QEMU_PLUGIN_CB_NO_REGS,
                                             (void *)(uintptr_t)insns);
        if (rep) {
            qemu_plugin_register_vcpu_tb_exec_cb(tb, count_rep_callback, QEMU_PLUGIN_CB_NO_REGS, NULL);
        }
    } else {
        qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &shared->cpu[0].insns, insns);
        if (rep) {
            qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &shared->cpu[0].rep, 1);
        }
    }
    if (profile) {
        struct block *block = block_slot(tb, insns);
        if (block) {
            qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &block->executions, 1);
        }
    }
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    const char *path = NULL;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "counters=", 9) == 0) {
            path = argv[i] + 9;
        } else if (strncmp(argv[i], "mark=", 5) == 0 && marks_len < MAX_MARKS) {
            marks[marks_len++] = strtoull(argv[i] + 5, NULL, 0);
        } else if (strcmp(argv[i], "profile=on") == 0) {
            profile = true;
        } else {
            fprintf(stderr, "insn plugin: cannot use argument \"%s\"\n", argv[i]);
            return -1;
        }
    }
    if (!path || !info->system_emulation) {
        fprintf(stderr, "insn plugin: needs counters=PATH and a system emulator\n");
        return -1;
    }
    /* The file stays sparse: its blocks are written only when profiling. */
    shared = map_shared(path, sizeof(struct shared), O_TRUNC);
    if (!shared) {
        return -1;
    }
    shared->cpus = (uint64_t)info->system.smp_vcpus;
    per_cpu = shared->cpus > 1;
    is_x86 = strcmp(info->target_name, "x86_64") == 0;
    shared->start_nanos = now();
    __atomic_store_n(&shared->magic, MAGIC, __ATOMIC_RELEASE);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
