//! How much of the stack a function of the built kernel has in use at each of its instructions.
use crate::kernel_elf::{Function, goes_on};
use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};

/// Bytes that a call puts onto the stack.
pub const RETURN_ADDRESS: u64 = 8;
/// A frame that seems deeper than this is a loop that the check doesn't understand.
pub const DEEPEST_FRAME: u64 = 1 << 20;

/// The bytes in use before each instruction of a function; `None` for those that only a jump by a table reaches.
pub struct Depths(Vec<Option<u64>>);

impl Depths {
    /// What a function's instructions do to the stack pointer, followed along every way through it.
    pub fn of(function: &Function) -> Depths {
        let instructions = &function.instructions;
        let mut depths: Vec<Option<u64>> = vec![None; instructions.len()];
        let mut pending = vec![(0usize, 0u64)];
        while let Some((at, depth)) = pending.pop() {
            // A place that is reached with different depths has the largest.
            if at >= instructions.len()
                || depths[at].is_some_and(|known| known >= depth)
                || depth > 2 * DEEPEST_FRAME
            {
                continue;
            }
            depths[at] = Some(depth);
            let i = &instructions[at];
            let after = after(instructions, at, depth, &depths);
            if matches!(i.flow_control(), FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch) {
                let to = i.near_branch_target();
                // Not backwards along a loop that moves the stack pointer: its end is known from its comparison.
                if let Ok(to) = instructions.binary_search_by_key(&to, Instruction::ip)
                    && (to > at || depths[to].is_none())
                {
                    pending.push((to, after));
                }
            }
            if goes_on(i) {
                pending.push((at + 1, after));
            }
        }
        Depths(depths)
    }

    /// The most bytes that the function has in use itself.
    pub fn deepest(&self) -> u64 {
        self.0.iter().flatten().copied().max().unwrap_or(0)
    }

    /// The bytes in use before the instruction at this position. What only a jump by a table reaches has the frame of the
    /// jump at least: the largest, to be safe.
    pub fn at(&self, position: usize) -> u64 {
        self.0.get(position).copied().flatten().unwrap_or_else(|| self.deepest())
    }
}

/// The bytes in use after an instruction before which there were `depth`. Where the stack pointer is taken from elsewhere
/// (a frame pointer, another stack) the count goes on, which is never too little.
fn after(instructions: &[Instruction], at: usize, depth: u64, depths: &[Option<u64>]) -> u64 {
    let i = &instructions[at];
    let to_stack_pointer =
        i.op_count() > 0 && i.op0_kind() == OpKind::Register && i.op0_register() == Register::RSP;
    let immediate = || i.try_immediate(1).unwrap_or(0) as i64;
    match i.mnemonic() {
        Mnemonic::Call => depth,
        Mnemonic::Sub if to_stack_pointer => depth.saturating_add_signed(immediate()),
        Mnemonic::Add if to_stack_pointer => depth.saturating_add_signed(-immediate()),
        // Rounded down to a multiple.
        Mnemonic::And if to_stack_pointer => {
            depth.saturating_add_signed(-immediate() - RETURN_ADDRESS as i64)
        }
        Mnemonic::Lea if to_stack_pointer && i.memory_base() == Register::RSP => {
            depth.saturating_add_signed(-(i.memory_displacement64() as i64))
        }
        // The end of a loop that touches each page of a large frame: it is where a register pointed before the loop.
        Mnemonic::Cmp if to_stack_pointer && i.op1_kind() == OpKind::Register => {
            let limit = instructions[..at].iter().zip(depths).rev().find_map(|(i, depth)| {
                let sets = i.mnemonic() == Mnemonic::Lea && i.memory_base() == Register::RSP;
                sets.then(|| {
                    depth.map(|depth| depth.saturating_add_signed(-(i.memory_displacement64() as i64)))
                })
            });
            limit.flatten().unwrap_or(depth)
        }
        _ => depth.saturating_add_signed(-i64::from(i.stack_pointer_increment())),
    }
}
