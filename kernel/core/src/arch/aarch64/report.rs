//! Registers in a report of a crash, and what a call looks like in the program's code.
use coracle_control::STACK_REGISTERS;
use coracle_hal::context::UserContext;
use coracle_hal::cpu::Registers;

/// Reports the program's registers.
pub fn program(c: &UserContext, thread_pointer: u64) {
    report!("pc  {:016x} sp  {:016x} pstate {:08x} tpidr {thread_pointer:016x}", c.pc, c.sp, c.pstate);
    registers("x", 0, &c.x);
}

/// Reports the registers of the CPU, in the handler of a panic.
pub fn kernel(r: &Registers) {
    report!("sp  {:016x} daif {:x} far {:016x} ttbr0 {:016x}", r.sp, r.daif, r.far, r.ttbr0);
    registers("x", 19, &r.saved);
}

/// Four registers in a line, numbered from `first`.
fn registers(name: &str, first: usize, values: &[u64]) {
    for (line, four) in values.chunks(4).enumerate() {
        let number = first + 4 * line;
        match *four {
            [a, b, c, d] => {
                report!("{name}{number} {a:016x} {b:016x} {c:016x} {d:016x}")
            }
            _ => report!("{name}{number} {four:016x?}"),
        }
    }
}

/// What is needed to unwind by frame pointers, in the places of x86-64's registers: rbp, rsp and rip.
pub fn dwarf(c: &UserContext) -> [u64; STACK_REGISTERS] {
    let mut all = [0; STACK_REGISTERS];
    (all[6], all[7], all[16]) = (c.x[29], c.sp, c.pc);
    all
}

/// The frame pointer, if the program keeps one.
pub fn frame_pointer(c: &UserContext) -> u64 {
    c.x[29]
}

/// The return address of the innermost call, where the function has not run yet: the link register.
pub fn caller(c: &UserContext, _word: impl Fn(u64) -> Option<u64>) -> Option<u64> {
    Some(c.x[30])
}

/// True if the instruction before `address` is a call (BL or BLR). `read` fills in bytes of an address, or returns false.
pub fn follows_call(read: impl Fn(&mut [u8], u64) -> bool, address: u64) -> bool {
    let mut bytes = [0u8; 4];
    if !read(&mut bytes, address.wrapping_sub(4)) {
        return false;
    }
    let instruction = u32::from_le_bytes(bytes);
    instruction >> 26 == 0b10_0101 || instruction & 0xffff_fc1f == 0xd63f_0000
}
