//! Unwinding stacks by call frame information (DWARF 5, section 6.4) and by frame pointers.

use std::cell::OnceCell;

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, DebugFrame, EhFrame, Encoding, EndianSlice, EvaluationResult,
    LittleEndian, Location, Register, RegisterRule, UnwindContext, UnwindExpression, UnwindOffset,
    UnwindSection, UnwindTableRow, Value, X86_64,
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
pub struct Frames {
    kind: Kind,
    /// The functions that it has something of: where each begins, where it ends, and the offset of its description. In order.
    index: OnceCell<Vec<(u64, u64, usize)>>,
}

/// Where it is said.
pub enum Kind {
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
    /// By what a module has.
    pub fn new(kind: Kind) -> Frames {
        Frames { kind, index: OnceCell::new() }
    }

    /// Where the function begins that holds a linked address, if anything is said of it.
    pub fn function_start(&self, address: u64) -> Option<u64> {
        self.description(address).map(|(start, _)| start)
    }

    /// The start of the function that holds an address, and where its description is.
    fn description(&self, address: u64) -> Option<(u64, usize)> {
        let index = self.index.get_or_init(|| match &self.kind {
            Kind::EhFrame { bytes, address, text } => {
                let bases = BaseAddresses::default().set_eh_frame(*address).set_text(*text);
                index(&EhFrame::new(bytes, LittleEndian), &bases)
            }
            Kind::DebugFrame(bytes) => index(&debug_frame(bytes), &BaseAddresses::default()),
            Kind::None => Vec::new(),
        });
        let last = index.partition_point(|(start, ..)| *start <= address).checked_sub(1)?;
        let (start, end, offset) = index[last];
        (address < end).then_some((start, offset))
    }

    /// Whether the code at a linked address is what a signal handler returns to: the registers that are found there are those of the
    /// instruction that was interrupted, and not behind a call.
    pub fn is_of_signal(&self, address: u64) -> bool {
        let Some((_, offset)) = self.description(address) else { return false };
        match &self.kind {
            Kind::EhFrame { bytes, address: place, text } => {
                let section = EhFrame::new(bytes, LittleEndian);
                let bases = BaseAddresses::default().set_eh_frame(*place).set_text(*text);
                let fde = section.fde_from_offset(&bases, offset.into(), EhFrame::cie_from_offset);
                fde.is_ok_and(|fde| fde.is_signal_trampoline())
            }
            Kind::DebugFrame(_) | Kind::None => false,
        }
    }

    /// The registers of the frame that called. `address`: a linked one, in the calling instruction. `None`: it is not known here.
    pub fn caller(
        &self,
        address: u64,
        registers: &Registers,
        read: &mut dyn FnMut(u64) -> Option<u64>,
    ) -> Option<Registers> {
        let (_, offset) = self.description(address)?;
        let mut context = UnwindContext::new();
        match &self.kind {
            Kind::EhFrame { bytes, address: place, text } => {
                let section = EhFrame::new(bytes, LittleEndian);
                let bases = BaseAddresses::default().set_eh_frame(*place).set_text(*text);
                let fde = section.fde_from_offset(&bases, offset.into(), EhFrame::cie_from_offset).ok()?;
                let row = fde.unwind_info_for_address(&section, &bases, &mut context, address);
                apply((&section, fde.cie().encoding()), row.ok()?, registers, read)
            }
            Kind::DebugFrame(bytes) => {
                let (section, bases) = (debug_frame(bytes), BaseAddresses::default());
                let fde = section.fde_from_offset(&bases, offset.into(), DebugFrame::cie_from_offset).ok()?;
                let row = fde.unwind_info_for_address(&section, &bases, &mut context, address);
                apply((&section, fde.cie().encoding()), row.ok()?, registers, read)
            }
            Kind::None => None,
        }
    }
}

fn debug_frame(bytes: &[u8]) -> DebugFrame<EndianSlice<'_, LittleEndian>> {
    let mut section = DebugFrame::from(EndianSlice::new(bytes, LittleEndian));
    section.set_address_size(8);
    section
}

/// What [`Frames::index`] holds.
fn index<'a, S>(section: &S, bases: &BaseAddresses) -> Vec<(u64, u64, usize)>
where
    S: UnwindSection<EndianSlice<'a, LittleEndian>>,
    S::Offset: UnwindOffset<usize>,
{
    let mut all = Vec::new();
    let mut entries = section.entries(bases);
    // What can't be read ends it.
    while let Ok(Some(entry)) = entries.next() {
        if let CieOrFde::Fde(partial) = entry
            && let Ok(fde) = partial.parse(S::cie_from_offset)
        {
            let start = fde.initial_address();
            all.push((start, start.saturating_add(fde.len()), fde.offset()));
        }
    }
    all.sort_unstable();
    all
}

fn place(register: Register) -> usize {
    usize::from(register.0)
}

fn apply<'a, S>(
    (section, encoding): (&S, Encoding),
    row: &UnwindTableRow<usize>,
    registers: &Registers,
    read: &mut dyn FnMut(u64) -> Option<u64>,
) -> Option<Registers>
where
    S: UnwindSection<EndianSlice<'a, LittleEndian>>,
{
    let evaluate = |expression: &UnwindExpression<usize>, start, read: &mut dyn FnMut(u64) -> Option<u64>| {
        evaluate((section, encoding), expression, start, registers, read)
    };
    let frame = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => {
            (*registers.get(place(*register))?)?.wrapping_add_signed(*offset)
        }
        CfaRule::Expression(expression) => evaluate(expression, None, read)?,
    };
    let mut caller = [None; 17];
    for (number, value) in caller.iter_mut().enumerate() {
        let own = Register(u16::try_from(number).ok()?);
        *value = match row.register(own) {
            Some(RegisterRule::Offset(offset)) => read(frame.wrapping_add_signed(offset)),
            Some(RegisterRule::ValOffset(offset)) => Some(frame.wrapping_add_signed(offset)),
            Some(RegisterRule::Register(other)) => registers.get(place(other)).copied().flatten(),
            Some(RegisterRule::SameValue) => registers[number],
            Some(RegisterRule::Expression(expression)) => {
                evaluate(&expression, Some(frame), read).and_then(&mut *read)
            }
            Some(RegisterRule::ValExpression(expression)) => evaluate(&expression, Some(frame), read),
            // What a function preserves without having touched it has no rule.
            None if is_preserved(own) => registers[number],
            _ => None,
        };
    }
    // Where a signal has interrupted a function, the stack pointer is one of those that were saved.
    caller[place(X86_64::RSP)].get_or_insert(frame);
    // The return address is lost where the outermost function says so.
    caller[register::RIP].is_some().then_some(caller)
}

/// What an expression comes to (DWARF 5, section 6.4.2), which begins with `start` on its stack.
fn evaluate<'a, S>(
    (section, encoding): (&S, Encoding),
    expression: &UnwindExpression<usize>,
    start: Option<u64>,
    registers: &Registers,
    read: &mut dyn FnMut(u64) -> Option<u64>,
) -> Option<u64>
where
    S: UnwindSection<EndianSlice<'a, LittleEndian>>,
{
    /// Operations at most: an expression may jump back.
    const MOST: u32 = 1000;
    let mut evaluation = expression.get(section).ok()?.evaluation(encoding);
    evaluation.set_max_iterations(MOST);
    if let Some(start) = start {
        evaluation.set_initial_value(start);
    }
    let mut result = evaluation.evaluate().ok()?;
    loop {
        result = match result {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresMemory { address, size: 8, .. } => {
                evaluation.resume_with_memory(Value::Generic(read(address)?)).ok()?
            }
            EvaluationResult::RequiresRegister { register, .. } => {
                let value = (*registers.get(place(register))?)?;
                evaluation.resume_with_register(Value::Generic(value)).ok()?
            }
            _ => return None,
        };
    }
    match evaluation.as_result().last()?.location {
        Location::Address { address } => Some(address),
        _ => None,
    }
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
