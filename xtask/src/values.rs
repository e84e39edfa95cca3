//! Where a pointer that the built kernel calls comes from.
//!
//! A value is followed back through registers and words of the function's own frame, along every way that leads to the call,
//! to what made it: an address in the code, a word of memory, an argument.
use crate::frames::Depths;
use crate::kernel_elf::{Kernel, goes_on, is_switch};
use iced_x86::{
    ConditionCode, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
    UsedRegister,
};
use std::collections::BTreeSet;

/// The registers that a function may change without saving them (System V ABI for AMD64, section 3.2.1).
const CHANGED_BY_CALLS: [Register; 9] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
];

/// Where a value is at some instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a register.
    Register(u16),
    /// In the function's frame: bytes from the return address, downwards below zero.
    Frame(i64),
}

/// What made a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// An address that an instruction loads.
    Address(u64),
    /// The function was called with it there.
    Argument(Place),
    /// It was loaded from a word of memory that lies so far behind a pointer.
    Memory(u64),
    /// Anything else.
    Elsewhere,
}

/// A function's instructions, and which of them lead to which.
pub struct Body<'a> {
    kernel: &'a Kernel,
    instructions: &'a [Instruction],
    depths: Depths,
    before: Vec<Vec<usize>>,
    /// It keeps where its frame begins in `rbp`.
    has_frame_pointer: bool,
}

impl<'a> Body<'a> {
    /// The function of this index.
    pub fn of(kernel: &'a Kernel, index: usize) -> Body<'a> {
        let function = &kernel.functions()[index];
        let instructions = &function.instructions[..];
        let mut before = vec![Vec::new(); instructions.len()];
        let mut unknown = Vec::new();
        for (position, i) in instructions.iter().enumerate() {
            match i.flow_control() {
                FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {
                    if let Ok(to) =
                        instructions.binary_search_by_key(&i.near_branch_target(), Instruction::ip)
                    {
                        before[to].push(position);
                    }
                }
                FlowControl::IndirectBranch if is_switch(&instructions[..=position]) => {
                    let targets = switch_targets(kernel, instructions, position);
                    if targets.is_empty() {
                        unknown.push(position);
                    }
                    targets.iter().for_each(|&to| before[to].push(position));
                }
                _ => {}
            }
            if goes_on(i) && position + 1 < instructions.len() {
                before[position + 1].push(position);
            }
        }
        // A table of jumps that isn't understood may lead to whatever follows the end of another way.
        for (position, before) in before.iter_mut().enumerate().skip(1) {
            if before.is_empty() || !goes_on(&instructions[position - 1]) {
                before.extend(&unknown);
            }
        }
        let has_frame_pointer = matches!(instructions, [first, second, ..]
            if first.mnemonic() == Mnemonic::Push && first.op0_register() == Register::RBP
                && second.mnemonic() == Mnemonic::Mov && second.op0_register() == Register::RBP
                && second.op_kind(1) == OpKind::Register && second.op1_register() == Register::RSP);
        Body { kernel, instructions, depths: Depths::of(function), before, has_frame_pointer }
    }

    /// The position of the instruction at this address.
    pub fn position(&self, address: u64) -> Option<usize> {
        self.instructions.binary_search_by_key(&address, Instruction::ip).ok()
    }

    /// What made the pointer that the instruction at this position calls or jumps to.
    pub fn called(&self, position: usize) -> BTreeSet<Origin> {
        let mut origins = BTreeSet::new();
        self.operand(position, 0, &mut BTreeSet::new(), &mut origins);
        origins
    }

    /// Where the pointer that the instruction at this position calls is loaded from memory: how far behind another pointer, and
    /// what made that one, which may be the table of a trait object's methods.
    pub fn tables(&self, position: usize) -> BTreeSet<(u64, Origin)> {
        let (mut tables, mut loads) = (BTreeSet::new(), BTreeSet::new());
        self.loads(position, 0, &mut BTreeSet::new(), &mut loads);
        for (load, place) in loads {
            let distance = self.instructions[load].memory_displacement64();
            tables.extend(self.value(load, place).into_iter().map(|origin| (distance, origin)));
        }
        tables
    }

    /// What the value in `place` was before the instruction at `position`.
    pub fn value(&self, position: usize, place: Place) -> BTreeSet<Origin> {
        let mut origins = BTreeSet::new();
        self.follow(position, place, &mut BTreeSet::new(), &mut origins);
        origins
    }

    /// Where an argument of the function called at this position is in this function.
    pub fn argument(&self, position: usize, place: Place) -> Place {
        match place {
            Place::Register(_) => place,
            // Above the return address that the call pushes, or that a jump leaves where it is.
            Place::Frame(offset) => {
                let is_call = self.instructions[position].flow_control() != FlowControl::UnconditionalBranch;
                let pushed = if is_call { crate::frames::RETURN_ADDRESS as i64 } else { 0 };
                Place::Frame(offset - self.depths.at(position) as i64 - pushed)
            }
        }
    }

    fn place(&self, register: Register) -> Option<Place> {
        let register: Register = register.full_register();
        register.is_gpr64().then_some(Place::Register(register as u16))
    }

    /// The word of the frame that an operand in memory is.
    fn word(&self, position: usize, i: &Instruction) -> Option<Place> {
        if i.memory_index() != Register::None || i.segment_prefix() != Register::None {
            return None;
        }
        let offset = i.memory_displacement64() as i64;
        match i.memory_base() {
            Register::RSP => Some(Place::Frame(offset - self.depths.at(position) as i64)),
            Register::RBP if self.has_frame_pointer => {
                Some(Place::Frame(offset - crate::frames::RETURN_ADDRESS as i64))
            }
            _ => None,
        }
    }

    fn operand(
        &self,
        position: usize,
        operand: u32,
        seen: &mut BTreeSet<(usize, Place)>,
        origins: &mut BTreeSet<Origin>,
    ) {
        let i = &self.instructions[position];
        match i.op_kind(operand) {
            OpKind::Register => match self.place(i.op_register(operand)) {
                Some(place) => self.follow(position, place, seen, origins),
                None => _ = origins.insert(Origin::Elsewhere),
            },
            OpKind::Memory => {
                if i.is_ip_rel_memory_operand() {
                    let word = self.kernel.constant_pointer(i.ip_rel_memory_address());
                    origins.insert(word.map_or(Origin::Elsewhere, Origin::Address));
                } else if let Some(place) = self.word(position, i) {
                    self.follow(position, place, seen, origins);
                } else if i.memory_index() == Register::None && i.segment_prefix() == Register::None {
                    origins.insert(Origin::Memory(i.memory_displacement64()));
                } else {
                    origins.insert(Origin::Elsewhere);
                }
            }
            _ => _ = origins.insert(Origin::Elsewhere),
        }
    }

    /// The loads from memory that the operand comes from: where they are, and where the pointer is that they load from.
    fn loads(
        &self,
        position: usize,
        operand: u32,
        seen: &mut BTreeSet<(usize, Place)>,
        loads: &mut BTreeSet<(usize, Place)>,
    ) {
        let i = &self.instructions[position];
        let place = match i.op_kind(operand) {
            OpKind::Register => self.place(i.op_register(operand)),
            OpKind::Memory => match self.word(position, i) {
                Some(place) => Some(place),
                None => return loads.extend(self.place(i.memory_base()).map(|base| (position, base))),
            },
            _ => None,
        };
        let Some(place) = place else { return };
        for (setter, setting) in self.setters(position, place, seen) {
            if let Some(Setting::Operand(operand)) = setting {
                self.loads(setter, operand, seen, loads);
            }
        }
    }

    fn follow(
        &self,
        position: usize,
        place: Place,
        seen: &mut BTreeSet<(usize, Place)>,
        origins: &mut BTreeSet<Origin>,
    ) {
        for (setter, setting) in self.setters(position, place, seen) {
            match setting {
                Some(Setting::Operand(operand)) => self.operand(setter, operand, seen, origins),
                Some(Setting::Address(to)) => _ = origins.insert(Origin::Address(to)),
                None if setter == usize::MAX => _ = origins.insert(Origin::Argument(place)),
                None => _ = origins.insert(Origin::Elsewhere),
            }
        }
    }

    /// The instructions that may have set `place` last before `position`, and to what; `usize::MAX`: the caller.
    fn setters(
        &self,
        position: usize,
        place: Place,
        seen: &mut BTreeSet<(usize, Place)>,
    ) -> Vec<(usize, Option<Setting>)> {
        let mut setters = Vec::new();
        let mut pending = vec![position];
        while let Some(position) = pending.pop() {
            if position == 0 {
                setters.push((usize::MAX, None));
            }
            for &before in &self.before[position] {
                if !seen.insert((before, place)) {
                    continue;
                }
                match self.sets(before, place) {
                    None => pending.push(before),
                    Some((setting, keeps)) => {
                        setters.push((before, setting));
                        if keeps {
                            pending.push(before);
                        }
                    }
                }
            }
        }
        setters
    }

    /// What the instruction at `position` sets `place` to, if it does (within: `None` where that isn't understood), and whether
    /// it may also leave it as it was.
    fn sets(&self, position: usize, place: Place) -> Option<(Option<Setting>, bool)> {
        let i = &self.instructions[position];
        let is_move = i.mnemonic() == Mnemonic::Mov;
        let Place::Register(number) = place else {
            let is_it =
                i.op_count() > 0 && i.op0_kind() == OpKind::Memory && self.word(position, i) == Some(place);
            return (is_it && is_move).then_some((Some(Setting::Operand(1)), false));
        };
        let is_it = |register: Register| register.full_register() as u16 == number;
        if i.op_count() == 2 && i.op0_kind() == OpKind::Register && is_it(i.op0_register()) {
            match i.mnemonic() {
                Mnemonic::Mov => return Some((Some(Setting::Operand(1)), false)),
                Mnemonic::Lea if i.is_ip_rel_memory_operand() => {
                    return Some((Some(Setting::Address(i.ip_rel_memory_address())), false));
                }
                _ if i.condition_code() != ConditionCode::None => {
                    return Some((Some(Setting::Operand(1)), true));
                }
                _ => {}
            }
        }
        if matches!(i.flow_control(), FlowControl::Call | FlowControl::IndirectCall) {
            let changes = CHANGED_BY_CALLS.iter().any(|&register| is_it(register));
            return changes.then_some((None, false));
        }
        let mut info = InstructionInfoFactory::new();
        let writes = |used: &UsedRegister| {
            let access = used.access();
            is_it(used.register())
                && matches!(
                    access,
                    OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite | OpAccess::ReadCondWrite
                )
        };
        info.info(i).used_registers().iter().any(writes).then_some((None, false))
    }
}

/// The positions that a jump by a table of distances leads to, by all tables whose address the function loads into the register
/// that the distance is loaded by. What lies behind a table's end is taken for more of it while it leads into the function.
fn switch_targets(kernel: &Kernel, instructions: &[Instruction], jump: usize) -> BTreeSet<usize> {
    /// Bytes of a distance.
    const ENTRY: u64 = 4;
    /// How far before the jump the load may be.
    const WINDOW: usize = 8;
    let load = instructions[..jump].iter().rev().take(WINDOW).find(|i| i.mnemonic() == Mnemonic::Movsxd);
    let Some(load) = load.filter(|load| load.op1_kind() == OpKind::Memory) else { return BTreeSet::new() };
    let is_base = |i: &&Instruction| {
        i.mnemonic() == Mnemonic::Lea
            && i.op0_register() == load.memory_base()
            && i.is_ip_rel_memory_operand()
    };
    let mut targets = BTreeSet::new();
    for table in instructions.iter().filter(is_base).map(Instruction::ip_rel_memory_address) {
        for entry in (table..).step_by(ENTRY as usize) {
            let Some(word) = kernel.word(entry) else { break };
            let to = table.wrapping_add_signed(i64::from(word as u32 as i32));
            let Ok(position) = instructions.binary_search_by_key(&to, Instruction::ip) else { break };
            targets.insert(position);
        }
    }
    targets
}

/// What an instruction sets a place to.
enum Setting {
    /// The value of this operand.
    Operand(u32),
    /// This address.
    Address(u64),
}
