//! The frames of a program's stack, with the names and source lines of what is there.

use std::rc::Rc;

use serde::Serialize;

use super::{Module, Place};
use crate::observe::stack::Mapping;
use crate::observe::unwind::{Registers, by_frame_pointer, register};
use crate::output;

/// A function at an address: the one that has it, or one that was inlined there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub function: String,
    /// How far the address is from its beginning; `None`: it was inlined.
    pub distance: Option<u64>,
    /// Where in its source.
    pub place: Option<Place>,
}

impl Named {
    /// `function+0x12`, or `function (inlined)`.
    pub fn name(&self) -> String {
        match self.distance {
            Some(distance) => format!("{}+{distance:#x}", self.function),
            None => format!("{} (inlined)", self.function),
        }
    }

    /// ` at FILE:LINE`, or nothing.
    pub fn at(&self) -> String {
        self.place.as_ref().map(|place| format!(" at {}:{}", place.file, place.line)).unwrap_or_default()
    }
}

/// A frame of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The address, as the registers had it: behind a call, or of the instruction itself in the innermost.
    pub address: u64,
    /// The file that is mapped there, or what it is in brackets.
    pub file: String,
    /// The place in the file.
    pub offset: u64,
    /// The functions, the innermost first; empty: none is known.
    pub named: Vec<Named>,
}

/// A function in JSON.
#[derive(Serialize)]
pub struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<u64>,
    function: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distance: Option<u64>,
    inlined: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    source: Option<&'a str>,
    line: Option<u32>,
}

impl<'a> Line<'a> {
    /// A function at an address of a file; of the kernel there is none of these.
    pub fn of(named: Option<&'a Named>, frame: Option<&'a Frame>) -> Line<'a> {
        let place = named.and_then(|named| named.place.as_ref());
        Line {
            address: frame.map(|frame| frame.address),
            function: named.map(|named| &*named.function),
            distance: named.and_then(|named| named.distance),
            inlined: named.is_some_and(|named| named.distance.is_none()),
            file: frame.map(|frame| &*frame.file),
            offset: frame.map(|frame| frame.offset),
            source: place.map(|place| &*place.file),
            line: place.map(|place| place.line),
        }
    }
}

impl Frame {
    /// A line for each function in JSON, the innermost first.
    pub fn lines(&self) -> Vec<Line<'_>> {
        match self.named.is_empty() {
            true => vec![Line::of(None, Some(self))],
            false => self.named.iter().map(|named| Line::of(Some(named), Some(self))).collect(),
        }
    }
}

/// Frames in words, a line for each function, numbered.
pub fn text(frames: &[Frame], indent: &str) -> String {
    let (mut text, mut number) = (String::new(), 0);
    for frame in frames {
        let Frame { address, file, offset, named } = frame;
        let file = file.rsplit('/').next().unwrap_or(file);
        let mut line = |what: &str, at: &str| {
            let line = format!("#{number} {address:#x} {what} ({file}+{offset:#x}){at}");
            text += &format!("{indent}{}\n", output::plain(&line));
            number += 1;
        };
        match named.is_empty() {
            true => line("?", ""),
            false => named.iter().for_each(|named| line(&named.name(), &named.at())),
        }
    }
    text
}

/// Where the files and the memory of a program are found.
pub trait Find {
    /// The mapping that an address is in.
    fn mapping(&mut self, address: u64) -> Option<Mapping>;
    /// The file of a mapping.
    fn module(&mut self, mapping: &Mapping) -> Option<Rc<Module>>;
    /// The word at an address of its memory.
    fn word(&mut self, address: u64) -> Option<u64>;
}

/// Unwinds the stack of a program that has these registers: `most` frames at most, the innermost first.
pub fn program_frames(mut registers: Registers, find: &mut dyn Find, most: usize) -> Vec<Frame> {
    let mut all = Vec::new();
    // The innermost frame, and one that a signal has interrupted, are at their own instruction.
    let mut is_exact = true;
    while let Some(address) = registers[register::RIP] {
        // A return address may be the first byte after the function that called.
        let calling = if is_exact { address } else { address.wrapping_sub(1) };
        let mapping = find.mapping(calling);
        let Some(mapping) = mapping.filter(|mapping| mapping.is_code) else {
            // A call of a bad pointer: its return address lies on top.
            if all.is_empty()
                && let Some(caller) = called_nowhere(&registers, find)
            {
                all.push(Frame { address, file: "no code".to_owned(), offset: address, named: Vec::new() });
                registers = caller;
                is_exact = false;
                continue;
            }
            break;
        };
        let offset = calling - mapping.start + mapping.offset;
        let module = find.module(&mapping);
        let linked = module.as_ref().and_then(|module| module.linked_address(offset));
        let known = module.as_ref().zip(linked);
        let named = known.map(|(module, linked)| module.named(linked, address - calling)).unwrap_or_default();
        let by_table = known.and_then(|(module, linked)| {
            module.frames.caller(linked, &registers, &mut |address| find.word(address))
        });
        is_exact = known.is_some_and(|(module, linked)| module.frames.is_of_signal(linked));
        let caller = by_table.or_else(|| by_frame_pointer(&registers, &mut |address| find.word(address)));
        all.push(Frame { address, file: mapping.name, offset, named });
        match caller {
            // A stack grows downwards: a caller's frame lies higher. A signal handler may have a stack of its own.
            Some(caller)
                if (is_exact || caller[register::RSP] > registers[register::RSP]) && all.len() < most =>
            {
                registers = caller;
            }
            _ => break,
        }
    }
    all
}

/// The registers of the function that called an address where there is no code.
fn called_nowhere(registers: &Registers, find: &mut dyn Find) -> Option<Registers> {
    let stack = registers[register::RSP]?;
    let caller = find.word(stack)?;
    find.mapping(caller.wrapping_sub(1)).filter(|mapping| mapping.is_code)?;
    let mut all = *registers;
    all[register::RIP] = Some(caller);
    all[register::RSP] = Some(stack + 8);
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_in_words() {
        let place = |line| Some(Place { file: "web.c".to_owned(), line });
        let inner = Named { function: "sum".to_owned(), distance: None, place: place(8) };
        let outer = Named { function: "main".to_owned(), distance: Some(0x12), place: place(20) };
        let frames = [
            Frame { address: 0x1136, file: "/bin/web".to_owned(), offset: 0x136, named: vec![inner, outer] },
            Frame { address: 0x2000, file: "/lib/libc.so".to_owned(), offset: 0x10, named: Vec::new() },
        ];
        assert_eq!(
            text(&frames, "  "),
            "  #0 0x1136 sum (inlined) (web+0x136) at web.c:8\n  #1 0x1136 main+0x12 (web+0x136) at web.c:20\n  \
             #2 0x2000 ? (libc.so+0x10)\n"
        );
    }

    struct Nothing;

    impl Find for Nothing {
        fn mapping(&mut self, address: u64) -> Option<Mapping> {
            let is_code = (0x1000..0x2000).contains(&address);
            let name = "/bin/web".to_owned();
            is_code.then_some(Mapping { start: 0x1000, end: 0x2000, offset: 0, is_code, name })
        }

        fn module(&mut self, _: &Mapping) -> Option<Rc<Module>> {
            None
        }

        fn word(&mut self, address: u64) -> Option<u64> {
            (0x8000..0x8010).contains(&address).then_some(0x1010)
        }
    }

    #[test]
    fn a_call_of_a_bad_pointer_has_a_caller() {
        let mut registers = [None; 17];
        (registers[register::RIP], registers[register::RSP]) = (Some(0), Some(0x8000));
        let frames = program_frames(registers, &mut Nothing, 8);
        assert_eq!(frames.iter().map(|frame| frame.address).collect::<Vec<_>>(), [0, 0x1010]);
        registers[register::RSP] = Some(0x9000);
        assert!(program_frames(registers, &mut Nothing, 8).is_empty());
    }
}
