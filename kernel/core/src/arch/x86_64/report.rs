//! Registers in a report of a crash, and what a call looks like in the program's code.
use coracle_control::STACK_REGISTERS;
use coracle_hal::context::UserContext;
use coracle_hal::cpu::Registers;

/// Reports the program's registers.
pub fn program(c: &UserContext, fs: u64) {
    report!("rip {:016x} rsp {:016x} rflags {:08x} fs {:016x}", c.rip, c.rsp, c.rflags, fs);
    report!("rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}", c.rax, c.rbx, c.rcx, c.rdx);
    report!("rsi {:016x} rdi {:016x} rbp {:016x} r8  {:016x}", c.rsi, c.rdi, c.rbp, c.r8);
    report!("r9  {:016x} r10 {:016x} r11 {:016x} r12 {:016x}", c.r9, c.r10, c.r11, c.r12);
    report!("r13 {:016x} r14 {:016x} r15 {:016x}", c.r13, c.r14, c.r15);
}

/// Reports the registers of the CPU, in the handler of a panic.
pub fn kernel(r: &Registers) {
    report!("rsp {:016x} rbp {:016x} rflags {:08x} rbx {:016x}", r.rsp, r.rbp, r.rflags, r.rbx);
    report!("r12 {:016x} r13 {:016x} r14 {:016x} r15 {:016x}", r.r12, r.r13, r.r14, r.r15);
    report!("cr0 {:08x} cr2 {:016x} cr3 {:016x} cr4 {:08x}", r.cr0, r.cr2, r.cr3, r.cr4);
}

/// The program's registers by their numbers in DWARF (System V ABI, figure 3.36), the address of the instruction last.
pub fn dwarf(c: &UserContext) -> [u64; STACK_REGISTERS] {
    [
        c.rax, c.rdx, c.rcx, c.rbx, c.rsi, c.rdi, c.rbp, c.rsp, c.r8, c.r9, c.r10, c.r11, c.r12, c.r13,
        c.r14, c.r15, c.rip,
    ]
}

/// The frame pointer, if the program keeps one.
pub fn frame_pointer(c: &UserContext) -> u64 {
    c.rbp
}

/// The return address of the innermost call, where the function has not run yet.
pub fn caller(c: &UserContext, word: impl Fn(u64) -> Option<u64>) -> Option<u64> {
    word(c.rsp)
}

/// True if the bytes before `address` are a call: a direct one, or one through a register or memory. `read` fills in bytes of an
/// address, or returns false.
pub fn follows_call(read: impl Fn(&mut [u8], u64) -> bool, address: u64) -> bool {
    let mut bytes = [0u8; 7];
    if !read(&mut bytes, address.wrapping_sub(7)) {
        return false;
    }
    // `call *r/m` is ff /2.
    let indirect = |at: usize| bytes[at] == 0xff && bytes[at + 1] >> 3 & 7 == 2;
    bytes[2] == 0xe8 || [5, 4, 1, 3, 0].into_iter().any(indirect)
}
