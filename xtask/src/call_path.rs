//! Checks in the built kernel that what looks at system calls costs nothing while it is off: from where the entry calls the kernel to where the
//! call's own function begins, nothing is decided and nothing else is called. What traces or filters calls is reached by another table
//! alone, whose address is read in place of that of the usual one.
use crate::kernel_elf::Kernel;
use iced_x86::{FlowControl, Formatter, IntelFormatter};

/// What the entry calls.
const START: &str = "coracle_syscall";
/// Instructions that the path may have: reading the number, bounding it, reading the table's address, and the jump.
const MOST: usize = 8;

/// The instructions from the entry to the jump to the call's function, in words.
///
/// # Errors
/// If something is decided or called between, or the path is longer than it has to be.
pub fn check(kernel: &Kernel) -> Result<Vec<String>, String> {
    let functions = kernel.functions();
    let start = functions.iter().find(|function| function.names.iter().any(|name| name == START));
    let mut at = start.ok_or_else(|| format!("there is no {START}"))?.start;
    let mut path = Vec::new();
    while path.len() < MOST {
        let i = kernel.instruction(at).ok_or_else(|| format!("no instruction begins at {at:#x}"))?;
        let mut text = String::new();
        IntelFormatter::new().format(i, &mut text);
        path.push(text);
        at = match i.flow_control() {
            FlowControl::Next => i.next_ip(),
            FlowControl::UnconditionalBranch => i.near_branch_target(),
            FlowControl::IndirectBranch => return Ok(path),
            _ => return Err(format!("the way to a call's function is not straight:\n{}", path.join("\n"))),
        };
    }
    Err(format!("the way to a call's function is longer than {MOST} instructions:\n{}", path.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JMP_RCX: [u8; 2] = [0xff, 0xe1];

    fn checked(code: &[u8]) -> Result<Vec<String>, String> {
        check(&Kernel::by_hand(&[(START, 0x1000, code)], &[], &[]))
    }

    #[test]
    fn a_straight_way_is_told() {
        // jmp over a nop; nop; jmp rcx
        assert_eq!(checked(&[0xeb, 0x01, 0x90, 0x90, JMP_RCX[0], JMP_RCX[1]]).map(|path| path.len()), Ok(3));
    }

    #[test]
    fn what_decides_or_calls_is_found() {
        // test ecx, ecx; jne; jmp rcx
        let decides = [0x85, 0xc9, 0x75, 0x00, JMP_RCX[0], JMP_RCX[1]];
        assert!(checked(&decides).is_err_and(|error| error.contains("not straight")));
        // call the next instruction
        assert!(checked(&[0xe8, 0, 0, 0, 0, JMP_RCX[0], JMP_RCX[1]]).is_err());
        assert!(checked(&[0xf8; 20]).is_err_and(|error| error.contains("longer")));
    }
}
