/*
 * edges.c: a QEMU TCG plugin that notes which edges between blocks of the kernel each program of the fuzzer takes for the
 * first time, and how long the kernel runs without a look at what waits for its CPU. The guest needs nothing for it.
 *
 * Arguments:  map=PATH       the file shared with the fuzzer (made if it isn't there; edges seen before are kept)
 *             marks=0xADDR   address of an instruction whose execution says that no program runs; that of the one N bytes
 *                            further says that program N - 1 begins
 *             kernel=0xADDR  where addresses of the kernel begin
 *
 * An edge is a pair of blocks executed one after the other on one CPU. QEMU ends a block early where it has to look for
 * interrupts or deadlines; that what follows it without a branch is the same block, or every run would find new edges.
 *
 * The kernel looks where it lets interrupts in, halts, or returns to the program: at sti, hlt, sysretq and iretq.
 */
#define _GNU_SOURCE
#include "qemu.h"
#include <stdlib.h>
#include <string.h>

/* The file's layout. Keep it equal to src/edges.rs. */
#define MAGIC 0x3153454744454643ULL /* "CFEDGES1", little-endian */
#define MAX_VCPUS 8
#define MAX_PROGRAMS (1u << 16)
#define MAP_BYTES (1u << 20)

struct cpu {
    uint64_t blocks; /* of the kernel, executed */
    uint64_t pad[7];
};
struct shared {
    uint64_t magic;
    uint64_t running;  /* number of the program that runs, from 1; 0: none */
    uint64_t edges;    /* seen ever, in this file */
    uint64_t longest;  /* instructions that the kernel ran without a look while a program ran, at most */
    uint64_t longest_program; /* the number of that program */
    uint64_t pad[3];
    struct cpu cpu[MAX_VCPUS];
    uint32_t found[MAX_PROGRAMS]; /* edges first seen while the program ran */
    uint8_t seen[MAP_BYTES];
};

/* What is known of a block when it is executed. */
struct block {
    uint64_t start;
    uint64_t end;
    uint32_t instructions;
    bool branches; /* its last instruction chooses where to go */
    bool looks;    /* one of its instructions is a look */
};

/* What a CPU executed last. */
struct position {
    uint64_t leader; /* the first address since the last branch */
    uint64_t end;
    bool branched;
    uint64_t unlooked; /* instructions of the kernel since its last look */
    uint64_t pad[4];
};

static struct shared *shared;
static struct position position[MAX_VCPUS];
static uint64_t marks, kernel;

static void on_mark(unsigned int cpu, void *number)
{
    (void)cpu;
    __atomic_store_n(&shared->running, (uintptr_t)number, __ATOMIC_RELAXED);
}

static void on_block(unsigned int cpu, void *data)
{
    const struct block *block = data;
    struct position *at = &position[cpu % MAX_VCPUS];
    shared->cpu[cpu % MAX_VCPUS].blocks++;
    at->unlooked = block->looks ? 0 : at->unlooked + block->instructions;
    if (at->unlooked > shared->longest && shared->running != 0) {
        shared->longest = at->unlooked;
        shared->longest_program = shared->running;
    }
    if (!at->branched && block->start == at->end) {
        at->end = block->end;
        at->branched = block->branches;
        return;
    }
    uint64_t hash = (at->leader * 3 ^ block->start) * 0x9e3779b97f4a7c15ULL >> 44;
    if (shared->seen[hash] == 0) {
        shared->seen[hash] = 1;
        shared->edges++;
        shared->found[shared->running % MAX_PROGRAMS]++;
    }
    at->leader = block->start;
    at->end = block->end;
    at->branched = block->branches;
}

/* Whether an instruction is a jump, a call or a return. */
static bool branches(const struct qemu_plugin_insn *insn)
{
    const uint8_t *code = qemu_plugin_insn_data(insn);
    size_t size = qemu_plugin_insn_size(insn);
    size_t i = 0;
    while (i + 1 < size && (code[i] == 0x2e || code[i] == 0x3e || code[i] == 0x66 || code[i] == 0xf2 ||
                            code[i] == 0xf3 || (code[i] & 0xf0) == 0x40)) {
        i++;
    }
    uint8_t first = code[i], second = i + 1 < size ? code[i + 1] : 0;
    return (first & 0xf0) == 0x70 || (first == 0x0f && ((second & 0xf0) == 0x80 || second == 0x05 || second == 0x07)) ||
           (first >= 0xe0 && first <= 0xe3) || first == 0xe8 || first == 0xe9 || first == 0xeb || first == 0xc2 ||
           first == 0xc3 || first == 0xcf || (first == 0xff && ((second >> 3 & 7) == 2 || (second >> 3 & 7) == 4));
}

/* Whether an instruction lets interrupts in, or leaves the kernel. */
static bool looks(const struct qemu_plugin_insn *insn)
{
    const uint8_t *code = qemu_plugin_insn_data(insn);
    size_t size = qemu_plugin_insn_size(insn);
    bool sti = size == 1 && code[0] == 0xfb, hlt = size == 1 && code[0] == 0xf4;
    bool iretq = size == 2 && code[0] == 0x48 && code[1] == 0xcf;
    bool sysretq = size == 3 && code[0] == 0x48 && code[1] == 0x0f && code[2] == 0x07;
    return sti || hlt || iretq || sysretq;
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    size_t insns = qemu_plugin_tb_n_insns(tb);
    uint64_t address = qemu_plugin_tb_vaddr(tb);
    if (address < kernel) {
        if (address >= marks && address - marks < MAX_PROGRAMS) {
            qemu_plugin_register_vcpu_tb_exec_cb(tb, on_mark, QEMU_PLUGIN_CB_NO_REGS, (void *)(uintptr_t)(address - marks));
        }
        return;
    }
    const struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, insns - 1);
    /* Lives as long as the machine: QEMU does not say when it forgets a block. */
    struct block *block = malloc(sizeof *block);
    if (block) {
        *block = (struct block){
            .start = address,
            .end = qemu_plugin_insn_vaddr(last) + qemu_plugin_insn_size(last),
            .instructions = insns,
            .branches = branches(last),
        };
        for (size_t i = 0; i < insns; i++) {
            block->looks |= looks(qemu_plugin_tb_get_insn(tb, i));
        }
        qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, block);
    }
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    const char *path = NULL;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "map=", 4) == 0) {
            path = argv[i] + 4;
        } else if (strncmp(argv[i], "marks=", 6) == 0) {
            marks = strtoull(argv[i] + 6, NULL, 0);
        } else if (strncmp(argv[i], "kernel=", 7) == 0) {
            kernel = strtoull(argv[i] + 7, NULL, 0);
        } else {
            fprintf(stderr, "edges plugin: cannot use argument \"%s\"\n", argv[i]);
            return -1;
        }
    }
    if (!path || !marks || !kernel || !info->system_emulation) {
        fprintf(stderr, "edges plugin: needs map=, marks=, kernel= and a system emulator\n");
        return -1;
    }
    shared = map_shared(path, sizeof(struct shared), 0);
    if (!shared) {
        return -1;
    }
    shared->running = 0;
    shared->longest = shared->longest_program = 0;
    memset(shared->cpu, 0, sizeof shared->cpu);
    memset(shared->found, 0, sizeof shared->found);
    __atomic_store_n(&shared->magic, MAGIC, __ATOMIC_RELEASE);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
