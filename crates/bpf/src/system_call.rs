//! Filters of system calls (seccomp(2)): programs over a `struct seccomp_data`, of whose language only a part may be used.
use super::check::Program;
use super::instruction::{Instruction, code};
use super::run::Data;

/// A system call, as `struct seccomp_data` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemCall {
    /// Its number.
    pub number: u32,
    /// The architecture whose number that is (AUDIT_ARCH_*).
    pub architecture: u32,
    /// The address behind the instruction that makes the call.
    pub instruction_pointer: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// Bytes of the structure.
const BYTES: u32 = 64;
/// Bytes of its words, by which alone it is read.
const WORD: u32 = 4;

/// Words in the order of the machine, which is little-endian.
impl Data for SystemCall {
    fn len(&self) -> u32 {
        BYTES
    }

    fn load(&self, at: u32, bytes: u32) -> Option<u32> {
        if bytes != WORD || !at.is_multiple_of(WORD) {
            return None;
        }
        let index = (at / WORD) as usize;
        let half = |word: u64| (word >> (32 * (index % 2))) as u32;
        Some(match index {
            0 => self.number,
            1 => self.architecture,
            2 | 3 => half(self.instruction_pointer),
            _ => half(*self.arguments.get(index / 2 - 2)?),
        })
    }
}

/// Whether an instruction may be in such a filter (Linux's `seccomp_check_filter`).
fn is_allowed(&Instruction { code, k, .. }: &Instruction) -> bool {
    use code::*;
    match code & CLASS {
        LD => match code & MODE {
            ABS => code & SIZE == W && k < BYTES && k.is_multiple_of(WORD),
            mode => matches!(mode, LEN | IMM | MEM),
        },
        LDX => code & MODE != MSH,
        ALU => code & OPERATION != MOD,
        _ => true,
    }
}

impl Program {
    /// Whether the program may filter system calls.
    pub fn filters_calls(&self) -> bool {
        self.instructions.iter().all(is_allowed)
    }

    /// How many instructions it has.
    pub fn instruction_count(&self) -> usize {
        self.instructions.len()
    }

    /// Its instructions, as they were given.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::code::*;
    use proptest::prelude::*;

    fn program(first: &[Instruction]) -> Program {
        let before = Instruction::new(ST, 3);
        let all = [before].into_iter().chain(first.iter().copied()).chain([Instruction::new(RET | A, 0)]);
        Program::new(all).unwrap()
    }

    #[test]
    fn what_a_filter_reads() {
        let arguments = [0x1_0000_0002, 3, 4, 5, 6, 0x7_0000_0008];
        let call = SystemCall { number: 9, architecture: 10, instruction_pointer: 0xb_0000_000c, arguments };
        let at = |k| program(&[Instruction::new(LD | W | ABS, k)]).run(&call);
        assert_eq!([0, 4, 8, 12, 16, 20, 56, 60].map(at), [9, 10, 12, 11, 2, 1, 8, 7]);
        assert_eq!(program(&[Instruction::new(LD | W | LEN, 0)]).run(&call), 64);
        assert_eq!(at(64), 0, "there is nothing behind it");
    }

    #[test]
    fn what_is_no_filter_of_calls() {
        let is = |instruction| program(&[instruction]).filters_calls();
        assert!(is(Instruction::new(LD | W | ABS, 60)));
        assert!(is(Instruction::new(ALU | XOR | X, 0)));
        assert!(is(Instruction::new(LDX | W | MEM, 3)));
        for none in [
            Instruction::new(LD | W | ABS, 64),
            Instruction::new(LD | W | ABS, 2),
            Instruction::new(LD | H | ABS, 0),
            Instruction::new(LD | W | IND, 0),
            Instruction::new(LDX | B | MSH, 0),
            Instruction::new(ALU | MOD, 2),
        ] {
            assert!(!is(none), "{none:?}");
        }
    }

    proptest! {
        /// The words are those of the structure's bytes.
        #[test]
        fn words_are_those_of_the_bytes(number: u32, architecture: u32, ip: u64, arguments: [u64; 6], at in 0u32..80) {
            let call = SystemCall { number, architecture, instruction_pointer: ip, arguments };
            let mut bytes = std::vec::Vec::new();
            bytes.extend(number.to_le_bytes());
            bytes.extend(architecture.to_le_bytes());
            bytes.extend(ip.to_le_bytes());
            arguments.iter().for_each(|one| bytes.extend(one.to_le_bytes()));
            let expected = bytes
                .get(at as usize..at as usize + 4)
                .filter(|_| at % 4 == 0)
                .map(|word| u32::from_le_bytes(word.try_into().unwrap()));
            prop_assert_eq!(call.load(at, 4), expected);
        }
    }
}
