//! Unwinding stacks by call frame information (DWARF 5, section 6.4) and by frame pointers.

use gimli::{
    BaseAddresses, CfaRule, DebugFrame, EhFrame, EndianSlice, LittleEndian, Register, RegisterRule,
    UnwindContext, UnwindSection, UnwindTableRow, X86_64,
};

/// Registers of a frame, by their numbers in DWARF for x86-64 (System V ABI, figure 3.36): 0 to 15 are rax, rdx, rcx, rbx,
/// rsi, rdi, rbp, rsp, r8 to r15; 16 is the return address. `None`: lost.
pub type Registers = [Option<u64>; 17];

/// Places in [`Registers`].
pub mod register {
    /// rbx
    pub const RBX: usize = 3;
    /// rbp
    pub const RBP: usize = 6;
    /// rsp
    pub const RSP: usize = 7;
    /// r12; r13 to r15 follow.
    pub const R12: usize = 12;
    /// rip
    pub const RIP: usize = 16;
}

/// What says how the frames of a module are unwound.
pub enum Frames {
    /// The section `.eh_frame`, its address, and that of `.text`.
    EhFrame {
        /// The section.
        bytes: Vec<u8>,
        /// Its linked address.
        address: u64,
        /// The linked address of the code.
        text: u64,
    },
    /// The section `.debug_frame`.
    DebugFrame(Vec<u8>),
    /// Nothing.
    None,
}

impl Frames {
    /// The registers of the frame that called. `address`: a linked one, in the calling instruction. `None`: it is not known here.
    pub fn caller(
        &self,
        address: u64,
        registers: &Registers,
        read: &mut dyn FnMut(u64) -> Option<u64>,
    ) -> Option<Registers> {
        let mut context = UnwindContext::new();
        match self {
            Frames::EhFrame { bytes, address: place, text } => {
                let section = EhFrame::new(bytes, LittleEndian);
                let bases = BaseAddresses::default().set_eh_frame(*place).set_text(*text);
                let row =
                    section.unwind_info_for_address(&bases, &mut context, address, EhFrame::cie_from_offset);
                apply(row.ok()?, registers, read)
            }
            Frames::DebugFrame(bytes) => {
                let mut section = DebugFrame::from(EndianSlice::new(bytes, LittleEndian));
                section.set_address_size(8);
                let row = section.unwind_info_for_address(
                    &BaseAddresses::default(),
                    &mut context,
                    address,
                    DebugFrame::cie_from_offset,
                );
                apply(row.ok()?, registers, read)
            }
            Frames::None => None,
        }
    }
}

fn place(register: Register) -> usize {
    usize::from(register.0)
}

fn apply(
    row: &UnwindTableRow<usize>,
    registers: &Registers,
    read: &mut dyn FnMut(u64) -> Option<u64>,
) -> Option<Registers> {
    let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else { return None };
    let frame = (*registers.get(place(*register))?)?.wrapping_add_signed(*offset);
    let mut caller = [None; 17];
    for (number, value) in caller.iter_mut().enumerate() {
        let own = Register(u16::try_from(number).ok()?);
        *value = match row.register(own) {
            Some(RegisterRule::Offset(offset)) => read(frame.wrapping_add_signed(offset)),
            Some(RegisterRule::ValOffset(offset)) => Some(frame.wrapping_add_signed(offset)),
            Some(RegisterRule::Register(other)) => registers.get(place(other)).copied().flatten(),
            Some(RegisterRule::SameValue) => registers[number],
            // What a function preserves without having touched it has no rule.
            None if is_preserved(own) => registers[number],
            _ => None,
        };
    }
    caller[place(X86_64::RSP)] = Some(frame);
    // The return address is lost where the outermost function says so.
    caller[register::RIP].is_some().then_some(caller)
}

/// Whether functions preserve a register (System V ABI, section 3.2.1).
fn is_preserved(register: Register) -> bool {
    [X86_64::RBX, X86_64::RBP, X86_64::R12, X86_64::R13, X86_64::R14, X86_64::R15].contains(&register)
}

/// The registers of the frame that called, by the chain of frame pointers.
pub fn by_frame_pointer(
    registers: &Registers,
    read: &mut dyn FnMut(u64) -> Option<u64>,
) -> Option<Registers> {
    let (frame, stack) = (registers[register::RBP]?, registers[register::RSP]?);
    if frame < stack || frame % 8 != 0 {
        return None;
    }
    let mut caller = [None; 17];
    caller[register::RBP] = Some(read(frame)?);
    caller[register::RIP] = Some(read(frame + 8)?);
    caller[register::RSP] = Some(frame + 16);
    Some(caller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_pointers_lead_to_the_caller() {
        let mut registers = [None; 17];
        (registers[register::RBP], registers[register::RSP]) = (Some(0x1010), Some(0x1000));
        let mut read = |address| (address < 0x2000).then_some(address + 1);
        let caller = by_frame_pointer(&registers, &mut read).unwrap();
        assert_eq!((caller[register::RBP], caller[register::RIP]), (Some(0x1011), Some(0x1019)));
        assert_eq!(caller[register::RSP], Some(0x1020));
        // A frame below the stack pointer is none.
        registers[register::RBP] = Some(0xff8);
        assert!(by_frame_pointer(&registers, &mut read).is_none());
    }
}
