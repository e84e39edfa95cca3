//! Instructions, as `struct sock_filter` has them (linux/filter.h, linux/bpf_common.h).

/// An instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instruction {
    /// What it does: a sum of [`code`]'s.
    pub code: u16,
    /// Instructions to be skipped if a jump's condition holds.
    pub if_true: u8,
    /// The same if it does not.
    pub if_false: u8,
    /// Its constant.
    pub k: u32,
}

impl Instruction {
    /// Bytes of an instruction.
    pub const BYTES: usize = 8;

    /// One that does not jump.
    pub const fn new(code: u16, k: u32) -> Instruction {
        Instruction { code, if_true: 0, if_false: 0, k }
    }

    /// As programs pass it: little-endian.
    pub fn encode(&self) -> [u8; Instruction::BYTES] {
        let ([a, b], [c, d, e, f]) = (self.code.to_le_bytes(), self.k.to_le_bytes());
        [a, b, self.if_true, self.if_false, c, d, e, f]
    }

    /// From its bytes.
    pub fn decode([a, b, if_true, if_false, c, d, e, f]: [u8; Instruction::BYTES]) -> Instruction {
        Instruction {
            code: u16::from_le_bytes([a, b]),
            if_true,
            if_false,
            k: u32::from_le_bytes([c, d, e, f]),
        }
    }
}

/// Parts of an instruction's code.
pub mod code {
    /// The class of an instruction.
    pub const CLASS: u16 = 0x07;
    /// Loads the accumulator A.
    pub const LD: u16 = 0x00;
    /// Loads the index register X.
    pub const LDX: u16 = 0x01;
    /// Stores A in a word of the program's own.
    pub const ST: u16 = 0x02;
    /// Stores X there.
    pub const STX: u16 = 0x03;
    /// Computes with A.
    pub const ALU: u16 = 0x04;
    /// Jumps.
    pub const JMP: u16 = 0x05;
    /// Ends the program.
    pub const RET: u16 = 0x06;
    /// Copies a register.
    pub const MISC: u16 = 0x07;

    /// The size of a load: four bytes.
    pub const W: u16 = 0x00;
    /// Two bytes.
    pub const H: u16 = 0x08;
    /// One byte.
    pub const B: u16 = 0x10;
    /// All bits of the size.
    pub const SIZE: u16 = 0x18;

    /// What is loaded: the constant.
    pub const IMM: u16 = 0x00;
    /// Data at the constant.
    pub const ABS: u16 = 0x20;
    /// Data at X and the constant.
    pub const IND: u16 = 0x40;
    /// A word of the program's own.
    pub const MEM: u16 = 0x60;
    /// The length of the data.
    pub const LEN: u16 = 0x80;
    /// Four times the lower half of the byte at the constant: the length of an IPv4 header.
    pub const MSH: u16 = 0xa0;
    /// All bits of the mode.
    pub const MODE: u16 = 0xe0;

    /// Operations.
    pub const ADD: u16 = 0x00;
    /// See [`ADD`].
    pub const SUB: u16 = 0x10;
    /// See [`ADD`].
    pub const MUL: u16 = 0x20;
    /// See [`ADD`].
    pub const DIV: u16 = 0x30;
    /// See [`ADD`].
    pub const OR: u16 = 0x40;
    /// See [`ADD`].
    pub const AND: u16 = 0x50;
    /// See [`ADD`].
    pub const LSH: u16 = 0x60;
    /// See [`ADD`].
    pub const RSH: u16 = 0x70;
    /// See [`ADD`].
    pub const NEG: u16 = 0x80;
    /// See [`ADD`].
    pub const MOD: u16 = 0x90;
    /// See [`ADD`].
    pub const XOR: u16 = 0xa0;
    /// All bits of the operation, and of a jump's condition.
    pub const OPERATION: u16 = 0xf0;

    /// Jumps by the constant.
    pub const JA: u16 = 0x00;
    /// Jumps if A is the operand.
    pub const JEQ: u16 = 0x10;
    /// Jumps if A is greater.
    pub const JGT: u16 = 0x20;
    /// Jumps if A is not less.
    pub const JGE: u16 = 0x30;
    /// Jumps if A has any bit of the operand.
    pub const JSET: u16 = 0x40;

    /// The operand is the constant.
    pub const K: u16 = 0x00;
    /// The operand is X.
    pub const X: u16 = 0x08;
    /// A is returned.
    pub const A: u16 = 0x10;

    /// Copies A to X.
    pub const TAX: u16 = 0x00;
    /// Copies X to A.
    pub const TXA: u16 = 0x80;
}
