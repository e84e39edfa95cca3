//! Runs programs.

use super::check::{Program, WORDS};
use super::instruction::{Instruction, code};

/// What a program looks at.
pub trait Data {
    /// Its length, in bytes.
    fn len(&self) -> u32;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The number in the `bytes` bytes (1, 2 or 4) from `at` on. `None`: they are not all there, which ends the program with 0.
    fn load(&self, at: u32, bytes: u32) -> Option<u32>;
}

/// Bytes in the order of the network.
impl Data for [u8] {
    fn len(&self) -> u32 {
        u32::try_from(<[u8]>::len(self)).unwrap_or(u32::MAX)
    }

    fn load(&self, at: u32, bytes: u32) -> Option<u32> {
        let at = usize::try_from(at).ok()?;
        let end = at.checked_add(bytes as usize)?;
        Some(self.get(at..end)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }
}

impl Program {
    /// Runs the program; what it returns. 0 also if it reads what is not there, or divides by 0.
    pub fn run<D: Data + ?Sized>(&self, data: &D) -> u32 {
        self.steps(data).unwrap_or(0)
    }

    fn steps<D: Data + ?Sized>(&self, data: &D) -> Option<u32> {
        use code::*;
        let (mut a, mut x) = (0u32, 0u32);
        let mut own = [0u32; WORDS];
        let mut at = 0;
        loop {
            let Instruction { code, if_true, if_false, k } = *self.instructions.get(at)?;
            at += 1;
            let bytes = match code & SIZE {
                W => 4,
                H => 2,
                _ => 1,
            };
            let place = k as usize % WORDS;
            let operand = if code & X != 0 { x } else { k };
            match (code & CLASS, code & MODE) {
                (LD, ABS) => a = data.load(k, bytes)?,
                (LD, IND) => a = data.load(x.checked_add(k)?, bytes)?,
                (LD, MEM) => a = own[place],
                (LD, LEN) => a = data.len(),
                (LD, _) => a = k,
                (LDX, MEM) => x = own[place],
                (LDX, LEN) => x = data.len(),
                (LDX, MSH) => x = 4 * (data.load(k, 1)? & 15),
                (LDX, _) => x = k,
                (ST, _) => own[place] = a,
                (STX, _) => own[place] = x,
                (ALU, _) => a = compute(code & OPERATION, a, operand)?,
                (JMP, _) => {
                    let holds = match code & OPERATION {
                        JA => {
                            at += k as usize;
                            continue;
                        }
                        JEQ => a == operand,
                        JGT => a > operand,
                        JGE => a >= operand,
                        _ => a & operand != 0,
                    };
                    at += usize::from(if holds { if_true } else { if_false });
                }
                (RET, _) => return Some(if code & !CLASS == A { a } else { k }),
                _ if code & TXA != 0 => a = x,
                _ => x = a,
            }
        }
    }
}

fn compute(operation: u16, a: u32, operand: u32) -> Option<u32> {
    use code::*;
    Some(match operation {
        ADD => a.wrapping_add(operand),
        SUB => a.wrapping_sub(operand),
        MUL => a.wrapping_mul(operand),
        DIV => a.checked_div(operand)?,
        MOD => a.checked_rem(operand)?,
        OR => a | operand,
        AND => a & operand,
        XOR => a ^ operand,
        // As Linux's interpreter has it, whatever the register holds.
        LSH => a.wrapping_shl(operand),
        RSH => a.wrapping_shr(operand),
        _ => a.wrapping_neg(),
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::Fault;
    use crate::code::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn program(instructions: &[Instruction]) -> Result<Program, Fault> {
        Program::new(instructions.iter().copied())
    }

    fn jump(code: u16, k: u32, if_true: u8, if_false: u8) -> Instruction {
        Instruction { code: JMP | code, if_true, if_false, k }
    }

    /// `tcpdump -dd -y EN10MB tcp port 80`, as far as IPv4 is concerned.
    #[test]
    fn a_filter_of_ports() {
        let filter = program(&[
            Instruction::new(LD | H | ABS, 12),
            jump(JEQ, 0x800, 0, 10),
            Instruction::new(LD | B | ABS, 23),
            jump(JEQ, 6, 0, 8),
            Instruction::new(LD | H | ABS, 20),
            jump(JSET, 0x1fff, 6, 0),
            Instruction::new(LDX | B | MSH, 14),
            Instruction::new(LD | H | IND, 14),
            jump(JEQ, 80, 2, 0),
            Instruction::new(LD | H | IND, 16),
            jump(JEQ, 80, 0, 1),
            Instruction::new(RET, 262_144),
            Instruction::new(RET, 0),
        ])
        .unwrap();
        let mut packet = [0; 60];
        packet[12] = 8;
        (packet[14], packet[23]) = (0x46, 6);
        assert_eq!(filter.run(&packet[..]), 0);
        packet[14 + 24 + 3] = 80;
        assert_eq!(filter.run(&packet[..]), 262_144);
        packet[20] = 1;
        assert_eq!(filter.run(&packet[..]), 0, "a fragment behind the first has no ports");
        assert_eq!(filter.run(&packet[..14]), 0);
    }

    #[test]
    fn what_is_no_program() {
        let end = Instruction::new(RET, 0);
        let first = |instruction| program(&[instruction, end]);
        assert_eq!(program(&[]), Err(Fault::Length));
        assert_eq!(program(&[Instruction::new(LD | LEN, 0)]), Err(Fault::NoEnd));
        assert_eq!(first(jump(JA, 1, 0, 0)), Err(Fault::Jump(0)));
        assert_eq!(first(jump(JEQ, 1, 0, 1)), Err(Fault::Jump(0)));
        assert_eq!(first(Instruction::new(ALU | DIV, 0)), Err(Fault::Instruction(0)));
        assert_eq!(first(Instruction::new(ALU | LSH, 32)), Err(Fault::Instruction(0)));
        assert_eq!(first(Instruction::new(ST, 16)), Err(Fault::Instruction(0)));
        assert_eq!(first(Instruction::new(LD | MSH | B, 0)), Err(Fault::Instruction(0)));
        assert_eq!(first(Instruction::new(0xffff, 0)), Err(Fault::Instruction(0)));
        assert!(first(Instruction::new(ALU | DIV | X, 0)).is_ok());
        assert_eq!(Program::decode(&[0; 7]), Err(Fault::Length));
    }

    #[test]
    fn arithmetic() {
        let result = |operation: u16, a: u32, operand: u32| {
            let constant = [
                Instruction::new(LD | IMM, a),
                Instruction::new(ALU | operation, operand),
                Instruction::new(RET | A, 0),
            ];
            program(&constant).unwrap().run(&[][..])
        };
        assert_eq!(result(ADD, u32::MAX, 2), 1);
        assert_eq!(result(SUB, 1, 2), u32::MAX);
        assert_eq!(result(MUL, 1 << 31, 2), 0);
        assert_eq!((result(DIV, 7, 2), result(MOD, 7, 2)), (3, 1));
        assert_eq!((result(LSH, 1, 31), result(RSH, 8, 2)), (1 << 31, 2));
        assert_eq!((result(AND, 6, 3), result(OR, 6, 3), result(XOR, 6, 3)), (2, 7, 5));
        assert_eq!(result(NEG, 1, 0), u32::MAX);
        let by_nothing = [
            Instruction::new(LDX | IMM, 0),
            Instruction::new(LD | IMM, 5),
            Instruction::new(ALU | DIV | X, 0),
            Instruction::new(RET, 9),
        ];
        assert_eq!(program(&by_nothing).unwrap().run(&[][..]), 0);
    }

    fn any_instruction() -> impl Strategy<Value = Instruction> {
        let code = prop_oneof![any::<u16>(), 0u16..0x100];
        let k = prop_oneof![any::<u32>(), 0u32..40];
        (code, 0u8..12, 0u8..12, k).prop_map(|(code, if_true, if_false, k)| Instruction {
            code,
            if_true,
            if_false,
            k,
        })
    }

    proptest! {
        /// Whatever passes the check ends, and reads nothing that is not there.
        #[test]
        fn programs_end(instructions in prop::collection::vec(any_instruction(), 0..40), data: Vec<u8>) {
            let instructions: Vec<_> = instructions
                .into_iter()
                .filter(|one| program(&[*one, Instruction::new(RET, 0)]).is_ok() || one.code & CLASS == JMP)
                .chain([Instruction::new(RET | A, 0)])
                .collect();
            if let Ok(program) = program(&instructions) {
                let bytes: Vec<u8> = instructions.iter().flat_map(Instruction::encode).collect();
                prop_assert_eq!(Program::decode(&bytes), Ok(program.clone()));
                program.run(&data[..]);
            }
        }

        #[test]
        fn any_bytes_are_refused_or_run(bytes: Vec<u8>, data: Vec<u8>) {
            if let Ok(program) = Program::decode(&bytes) {
                program.run(&data[..]);
            }
        }
    }
}
