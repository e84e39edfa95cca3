//! The check that makes a list of instructions a program.

use super::instruction::{Instruction, code};
use alloc::vec::Vec;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;
use core::fmt;

/// Instructions that a program has at most (BPF_MAXINSNS).
pub const PROGRAM_MAX: usize = 4096;
/// Words of a program's own (BPF_MEMWORDS).
pub const WORDS: usize = 16;
/// Bits of a word: a shift by as many has no meaning.
const WORD_BITS: u32 = 32;

/// A program that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub(crate) instructions: Vec<Instruction>,
}

/// Why a list of instructions is no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is empty, or too long.
    Length,
    /// No such instruction, or one with a constant that has no meaning.
    Instruction(usize),
    /// A jump behind the end.
    Jump(usize),
    /// A word of the program's own is loaded that may not have been stored.
    NotStored(usize),
    /// The last instruction does not return.
    NoEnd,
    /// There is no memory for it.
    NoMemory,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Length => write!(f, "a filter has 1 to {PROGRAM_MAX} instructions"),
            Fault::Instruction(at) => write!(f, "instruction {at} is none"),
            Fault::Jump(at) => write!(f, "instruction {at} jumps out of the filter"),
            Fault::NotStored(at) => write!(f, "instruction {at} loads a word that was not stored"),
            Fault::NoEnd => f.write_str("the last instruction does not return"),
            Fault::NoMemory => f.write_str("out of memory"),
        }
    }
}

impl From<NoMemory> for Fault {
    fn from(_: NoMemory) -> Self {
        Fault::NoMemory
    }
}

/// Whether an instruction is one, its jumps apart.
fn is_known(instruction: &Instruction) -> bool {
    use code::*;
    let Instruction { code, k, .. } = *instruction;
    let is_own = (k as usize) < WORDS;
    let (size, mode, operation) = (code & SIZE, code & MODE, code & OPERATION);
    match code & CLASS {
        LD => match mode {
            ABS | IND => matches!(size, W | H | B),
            MEM => size == W && is_own,
            IMM | LEN => size == W,
            _ => false,
        },
        LDX => match mode {
            MSH => size == B,
            MEM => size == W && is_own,
            IMM | LEN => size == W,
            _ => false,
        },
        ST | STX => code & !CLASS == 0 && is_own,
        ALU => {
            let is_x = code & X != 0;
            match operation {
                ADD | SUB | MUL | OR | AND | XOR => code & !(CLASS | OPERATION | X) == 0,
                DIV | MOD => code & !(CLASS | OPERATION | X) == 0 && (is_x || k != 0),
                LSH | RSH => code & !(CLASS | OPERATION | X) == 0 && (is_x || k < WORD_BITS),
                NEG => code & !(CLASS | OPERATION) == 0,
                _ => false,
            }
        }
        JMP => match operation {
            JA => code & !CLASS == 0,
            JEQ | JGT | JGE | JSET => code & !(CLASS | OPERATION | X) == 0,
            _ => false,
        },
        RET => matches!(code & !CLASS, K | A),
        _ => matches!(code & !CLASS, TAX | TXA),
    }
}

/// Whether words are stored before they are loaded, on every way through a program whose jumps lead forwards and stay within it.
fn check_words(all: &[Instruction]) -> Result<(), Fault> {
    use code::*;
    const ALL: u16 = u16::MAX;
    // A bit for each word that has been stored on all ways that come to an instruction by a jump.
    let mut stored_at = coracle_fallible::filled(ALL, all.len())?;
    let mut stored = 0;
    for (at, instruction) in all.iter().enumerate() {
        let Instruction { code, if_true, if_false, k } = *instruction;
        stored &= stored_at[at];
        let word = 1u16 << (k as usize % WORDS);
        match (code & CLASS, code & MODE) {
            (ST | STX, _) => stored |= word,
            (LD | LDX, MEM) if stored & word == 0 => return Err(Fault::NotStored(at)),
            (JMP, _) => {
                let always = code & OPERATION == JA;
                let ways = if always { [k as usize; 2] } else { [if_true.into(), if_false.into()] };
                for way in ways {
                    stored_at[at + 1 + way] &= stored;
                }
                stored = ALL;
            }
            _ => {}
        }
    }
    Ok(())
}

impl Program {
    /// Checks instructions.
    ///
    /// # Errors
    /// What is wrong with them; [`Fault::NoMemory`].
    pub fn new(instructions: impl Iterator<Item = Instruction>) -> Result<Program, Fault> {
        let mut all = Vec::new();
        for instruction in instructions {
            if all.len() == PROGRAM_MAX {
                return Err(Fault::Length);
            }
            all.try_push(instruction)?;
        }
        let last = all.last().ok_or(Fault::Length)?;
        if last.code & code::CLASS != code::RET {
            return Err(Fault::NoEnd);
        }
        for (at, instruction) in all.iter().enumerate() {
            if !is_known(instruction) {
                return Err(Fault::Instruction(at));
            }
            let rest = all.len() - at - 1;
            let is_within = match (instruction.code & code::CLASS, instruction.code & code::OPERATION) {
                (code::JMP, code::JA) => (instruction.k as usize) < rest,
                (code::JMP, _) => usize::from(instruction.if_true.max(instruction.if_false)) < rest,
                _ => true,
            };
            if !is_within {
                return Err(Fault::Jump(at));
            }
        }
        check_words(&all)?;
        Ok(Program { instructions: all })
    }

    /// From the bytes of instructions.
    ///
    /// # Errors
    /// As [`Program::new`].
    pub fn decode(bytes: &[u8]) -> Result<Program, Fault> {
        let (instructions, rest) = bytes.as_chunks::<{ Instruction::BYTES }>();
        if !rest.is_empty() {
            return Err(Fault::Length);
        }
        Program::new(instructions.iter().copied().map(Instruction::decode))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::code::*;
    use std::vec::Vec;

    #[test]
    fn words_are_stored_before_they_are_loaded() {
        let new = Instruction::new;
        let jump = |if_true, if_false| Instruction { if_true, if_false, ..new(JMP | JEQ, 0) };
        let check = |all: &[Instruction]| {
            let end = new(RET, 0);
            Program::new(all.iter().copied().chain([end]).collect::<Vec<_>>().into_iter()).map(drop)
        };
        assert_eq!(check(&[new(LD | W | MEM, 3)]), Err(Fault::NotStored(0)));
        assert_eq!(check(&[new(ST, 2), new(LDX | W | MEM, 3)]), Err(Fault::NotStored(1)));
        assert_eq!(check(&[new(STX, 3), new(LD | W | MEM, 3)]), Ok(()));
        // On one of two ways only.
        assert_eq!(check(&[jump(0, 1), new(ST, 3), new(LD | W | MEM, 3)]), Err(Fault::NotStored(2)));
        assert_eq!(check(&[new(ST, 3), jump(0, 1), new(ST, 2), new(LD | W | MEM, 3)]), Ok(()));
        // What is jumped over is not looked at.
        assert_eq!(check(&[new(JMP | JA, 1), new(LD | W | MEM, 3)]), Ok(()));
    }
}
