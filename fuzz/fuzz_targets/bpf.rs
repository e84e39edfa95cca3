//! Runs any bytes that pass for a filter of packets over any others: it ends, and reads nothing that is not there.
#![no_main]

use coracle_bpf::{Instruction, Program};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (instructions, packet) = input;
    let Ok(program) = Program::decode(instructions) else { return };
    let again = instructions.as_chunks::<{ Instruction::BYTES }>().0.iter().copied().map(Instruction::decode);
    assert_eq!(Program::new(again).as_ref(), Ok(&program));
    program.run(packet);
});
