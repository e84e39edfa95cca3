//! Checks in the built kernel that its text runs with interrupts on only where the list of its interrupt handler says.
//!
//! Interrupts are off in the kernel: every gate and `syscall` turn them off. They come on by `sti`, by a load of the flags,
//! or because a program in ring 0 has jumped to the kernel, which it does to a listed address only. From each of these the
//! check follows the instructions to where interrupts are off again or the kernel is left, and compares what it has passed
//! with the list: an instruction that is missing there could lose an interrupt, and one too many hides the next.
use crate::kernel_elf::{Kernel, goes_on};
use iced_x86::{FlowControl, Formatter, Instruction, IntelFormatter, Mnemonic};
use std::collections::{BTreeMap, BTreeSet};

/// The list (`hal/src/arch/x86_64/entry.rs`).
const LIST: &str = "coracle_hal::arch::x86_64::entry::INTERRUPTIBLE";
/// Bytes of an entry, which begins with the address.
const ENTRY_SIZE: u64 = 16;

/// What was found in a kernel that has nothing wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    /// Instructions that were looked at.
    pub instructions: usize,
    /// Those at which interrupts are on.
    pub interruptible: usize,
}

/// Checks a kernel.
///
/// # Errors
/// What is wrong, a line for each instruction.
pub fn check(kernel: &Kernel) -> Result<Summary, String> {
    let listed = list(kernel)?;
    let mut walk = Walk { kernel, on: BTreeMap::new(), faults: Vec::new() };
    let mut all = 0;
    for function in kernel.functions() {
        all += function.instructions.len();
        for i in &function.instructions {
            match i.mnemonic() {
                Mnemonic::Sti | Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq => {
                    walk.follow(i.next_ip(), i);
                }
                _ => {}
            }
        }
    }
    for &address in &listed {
        match kernel.instruction(address) {
            // Programs may jump there: nothing else leads to a `cli` with interrupts on.
            Some(i) if i.mnemonic() == Mnemonic::Cli => walk.follow(address, i),
            Some(i) if !walk.on.contains_key(&address) => {
                walk.faults.push(format!("{}: listed, but interrupts are off there", describe(kernel, i)));
            }
            Some(_) => {}
            None => walk.faults.push(format!("{address:#x}: listed, but no instruction begins there")),
        }
    }
    for (address, cause) in &walk.on {
        if !listed.contains(address) {
            let place = kernel.instruction(*address).map_or_else(String::new, |i| describe(kernel, i));
            walk.faults.push(format!("{place}: runs with interrupts on, by {cause}, and is not listed"));
        }
    }
    if !walk.faults.is_empty() {
        return Err(format!("{}\n{LIST} is the list", walk.faults.join("\n")));
    }
    Ok(Summary { instructions: all, interruptible: walk.on.len() })
}

/// The addresses in the kernel's list.
fn list(kernel: &Kernel) -> Result<BTreeSet<u64>, String> {
    let (start, size) = kernel.variable(LIST).ok_or(format!("the kernel has no {LIST}"))?;
    (start..start + size)
        .step_by(ENTRY_SIZE as usize)
        .map(|entry| {
            kernel.pointers().get(&entry).copied().ok_or(format!("{LIST} has an entry without an address"))
        })
        .collect()
}

/// Follows what runs with interrupts on.
struct Walk<'a> {
    kernel: &'a Kernel,
    /// The instructions at which interrupts are on, with the instruction that is the cause.
    on: BTreeMap<u64, String>,
    faults: Vec<String>,
}

impl Walk<'_> {
    /// Interrupts are on at `address`, because of `cause`.
    fn follow(&mut self, address: u64, cause: &Instruction) {
        let cause = describe(self.kernel, cause);
        let mut next = vec![address];
        while let Some(address) = next.pop() {
            if self.on.contains_key(&address) {
                continue;
            }
            let Some(i) = self.kernel.instruction(address) else {
                self.faults
                    .push(format!("{address:#x}: no instruction begins there, but {cause} leads there"));
                continue;
            };
            self.on.insert(address, cause.clone());
            if i.mnemonic() == Mnemonic::Cli {
                continue;
            }
            match i.flow_control() {
                // The jump to the program. Were it to stay in the kernel, it would be to code that is called with
                // interrupts on, which no list can name.
                FlowControl::IndirectBranch => {}
                FlowControl::Next => {}
                FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {
                    next.push(i.near_branch_target());
                }
                _ => {
                    let place = describe(self.kernel, i);
                    self.faults.push(format!("{place}: leaves a function with interrupts on, by {cause}"));
                }
            }
            if goes_on(i) {
                next.push(i.next_ip());
            }
        }
    }
}

/// An instruction for people: where it is, and what.
fn describe(kernel: &Kernel, i: &Instruction) -> String {
    let mut text = String::new();
    IntelFormatter::new().format(i, &mut text);
    let function = kernel.containing(i.ip()).map(|index| &kernel.functions()[index]);
    let (name, offset) = function.map_or(("?", 0), |function| (function.name(), i.ip() - function.start));
    format!("{:#x} ({name} + {offset:#x}, `{text}`)", i.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STI: u8 = 0xfb;
    const CLI: u8 = 0xfa;
    const HLT: u8 = 0xf4;
    const RET: u8 = 0xc3;
    const POPFQ: u8 = 0x9d;
    const JMP_RCX: [u8; 2] = [0xff, 0xe1];
    /// Where the list is.
    const AT: u64 = 0x9000;

    /// The check of one function at 0x1000, with these addresses in the list.
    fn checked(code: &[u8], listed: &[u64]) -> Result<Summary, String> {
        let pointers: Vec<_> = (AT..).step_by(ENTRY_SIZE as usize).zip(listed.iter().copied()).collect();
        let size = listed.len() as u64 * ENTRY_SIZE;
        check(&Kernel::by_hand(&[("wait", 0x1000, code)], &pointers, &[(LIST, (AT, size))]))
    }

    #[test]
    fn a_wait_is_listed_from_its_halt_to_its_end() {
        let wait = [STI, HLT, CLI, RET];
        assert_eq!(checked(&wait, &[0x1001, 0x1002]), Ok(Summary { instructions: 4, interruptible: 2 }));
        assert!(checked(&wait, &[0x1001]).unwrap_err().contains("0x1002"));
        assert!(checked(&wait, &[0x1001, 0x1002, 0x1003]).unwrap_err().contains("interrupts are off there"));
        assert!(checked(&wait, &[0x1001, 0x1002, 0x1004]).unwrap_err().contains("no instruction begins"));
    }

    #[test]
    fn loaded_flags_may_turn_interrupts_on() {
        let exit = [POPFQ, JMP_RCX[0], JMP_RCX[1]];
        assert_eq!(checked(&exit, &[0x1001]), Ok(Summary { instructions: 2, interruptible: 1 }));
        assert!(checked(&exit, &[]).is_err());
    }

    #[test]
    fn a_function_does_not_return_with_interrupts_on() {
        assert!(checked(&[STI, RET], &[0x1001]).unwrap_err().contains("leaves a function"));
    }

    #[test]
    fn an_entry_begins_by_turning_interrupts_off() {
        // cli; jmp rcx; and the same with an instruction before.
        assert!(checked(&[CLI, JMP_RCX[0], JMP_RCX[1]], &[0x1000]).is_ok());
        assert!(checked(&[0x90, CLI, JMP_RCX[0], JMP_RCX[1]], &[0x1000]).is_err());
    }
}
