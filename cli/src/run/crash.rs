//! Reports of crashes: what the kernel says of them, with the source lines that the kernel doesn't know.
//!
//! Of a program that crashes the kernel says the registers, a part of the stack, and where which files' code is; so its stack is
//! unwound here, by the call frame information of those files. The kernel's own backtrace, which follows, is shown where that leads less far.

use std::cell::OnceCell;
use std::collections::HashMap;

use crate::arch::Arch;
use crate::kernel::debug_elf;
use crate::observe::{
    Copy, Files, Frame, Module, Named, Region, Registers, frames_at, frames_of, registers_of,
};

/// The lines of the kernel's reports before the frames.
const OF_PROGRAM: &str = "backtrace of the program:";
const OF_KERNEL: &str = "backtrace of the kernel:";

/// What is said of a program that crashes, until all is said.
#[derive(Default)]
struct Program {
    registers: Option<Registers>,
    regions: Vec<Region>,
    stack: Copy,
}

/// Reports as their lines come.
#[derive(Default)]
pub struct Reports {
    /// By the numbers of their threads.
    programs: HashMap<u64, Program>,
    /// The kernel's backtrace of a program that is not unwound yet.
    withheld: Vec<String>,
    /// The kernel's own frames come.
    is_of_kernel: bool,
    kernel: OnceCell<Option<Module>>,
    files: Files,
}

impl Reports {
    /// Takes a line of a report; returns the lines to show.
    pub fn line(&mut self, line: &str) -> Vec<String> {
        if !self.programs.is_empty() && (line == OF_PROGRAM || line.starts_with("  #")) {
            self.withheld.push(line.to_owned());
            return Vec::new();
        }
        let is_frame = self.is_of_kernel && line.starts_with("  0x");
        self.is_of_kernel = line == OF_KERNEL || is_frame;
        let named = if is_frame { self.of_kernel(line) } else { None };
        named.unwrap_or_else(|| vec![line.to_owned()])
    }

    /// Takes `THREAD LETTER WORDS`, what is needed to unwind; returns the lines to show.
    pub fn unwind(&mut self, text: &str) -> Vec<String> {
        let mut parts = text.splitn(3, ' ');
        let tid = parts.next().and_then(|word| u64::from_str_radix(word, 16).ok());
        let (Some(tid), Some(kind)) = (tid, parts.next()) else { return Vec::new() };
        let rest = parts.next().unwrap_or_default();
        let mut words = rest.split(' ').map_while(|word| u64::from_str_radix(word, 16).ok());
        match (kind, self.programs.get_mut(&tid)) {
            ("r", _) => {
                let program = Program { registers: Some(registers_of(words)), ..Program::default() };
                self.programs.insert(tid, program);
            }
            ("m", Some(program)) => program.regions.extend(Region::parse(rest)),
            ("s", Some(program)) => {
                let stack = &mut program.stack;
                let Some(start) = words.next() else { return Vec::new() };
                if stack.bytes.is_empty() {
                    stack.start = start;
                }
                // A line that was lost ends it.
                if stack.start + stack.bytes.len() as u64 == start {
                    words.for_each(|word| stack.bytes.extend(word.to_le_bytes()));
                }
            }
            ("e", _) => {
                let program = self.programs.remove(&tid).unwrap_or_default();
                return self.of_program(program);
            }
            _ => {}
        }
        Vec::new()
    }

    /// The lines that are left when nothing more comes.
    pub fn end(&mut self) -> Vec<String> {
        std::mem::take(&mut self.withheld)
    }

    fn of_program(&mut self, program: Program) -> Vec<String> {
        let withheld = std::mem::take(&mut self.withheld);
        let Some(registers) = program.registers else { return withheld };
        let frames = frames_of(registers, &program.regions, &program.stack, &mut self.files);
        // What only lies on the stack may be no frame.
        let sure = withheld.iter().filter(|line| line.starts_with("  #") && !line.contains(" ? ")).count();
        let is_unwound = frames.len() >= sure.max(1);
        let frames = if !is_unwound {
            let addresses: Vec<u64> = withheld.iter().filter_map(|line| address_of(line)).collect();
            frames_at(&addresses, &program.regions, &mut self.files)
        } else {
            frames
        };
        let mut lines = vec![OF_PROGRAM.to_owned()];
        lines.extend(
            frames
                .iter()
                .flat_map(|frame| of_frame(frame, &withheld, is_unwound))
                .enumerate()
                .map(|(number, (address, what))| format!("  #{number} {address:#018x} {what}")),
        );
        lines
    }

    /// A line `  0xADDRESS FUNCTION+0xDISTANCE` of the kernel's backtrace with source lines, if this command has that kernel.
    fn of_kernel(&mut self, line: &str) -> Option<Vec<String>> {
        let mut words = line.trim_start().splitn(2, ' ');
        let shown = words.next()?;
        let address = u64::from_str_radix(shown.strip_prefix("0x")?, 16).ok()?.checked_sub(1)?;
        let name = words.next()?;
        let load = || Module::read(debug_elf(Arch::X86_64).ok()?);
        let all = self.kernel.get_or_init(load).as_ref()?.named(address, 1);
        // Another kernel has another function there.
        all.last().filter(|last| last.name() == name)?;
        Some(all.iter().map(|named| format!("  {shown} {}{}", named.name(), named.at())).collect())
    }
}

/// The address in a line `  #N 0xADDRESS …` of the kernel's.
fn address_of(line: &str) -> Option<u64> {
    u64::from_str_radix(line.strip_prefix("  #")?.split(' ').nth(1)?.strip_prefix("0x")?, 16).ok()
}

/// A frame in words, a line for each function. One that has no name here may have one in the guest.
fn of_frame(frame: &Frame, withheld: &[String], is_unwound: bool) -> Vec<(u64, String)> {
    let address = format!(" {:#018x} ", frame.address);
    let said = withheld.iter().find_map(|line| line.split_once(&address)).map(|(_, what)| what);
    let place = format!("({}+{:#x})", frame.file, frame.offset);
    if frame.named.is_empty() {
        let said = said.map(|said| if is_unwound { said.trim_start_matches("? ") } else { said });
        return vec![(frame.address, said.map_or(place, str::to_owned))];
    }
    // What the kernel has found lying on the stack.
    let mark = if !is_unwound && said.is_some_and(|said| said.starts_with("? ")) { "? " } else { "" };
    let line = |named: &Named| format!("{mark}{} {place}{}", named.name(), named.at());
    frame.named.iter().map(|named| (frame.address, line(named))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(reports: &mut Reports, said: &[(char, &str)]) -> Vec<String> {
        let mut shown = Vec::new();
        for (kind, text) in said {
            shown.extend(match kind {
                'U' => reports.unwind(text),
                _ => reports.line(text),
            });
        }
        shown.extend(reports.end());
        shown
    }

    #[test]
    fn frames_of_unknown_files_keep_the_names_that_the_guest_has() {
        let kernel = [('P', "died"), ('P', OF_PROGRAM), ('P', "  #0 0x0000000000001010 f+0x1 (/no/a+0x10)")];
        let unwound = [
            ('U', "7 r 0 0 0 0 0 0 8010 8000 0 0 0 0 0 0 0 0 1010"),
            ('U', "7 m 1000 2000 0 1 /no/a"),
            ('U', "7 s 8000 0 0 0 1020 0 0"),
        ];
        let all = [&unwound[..], &kernel[..], &[('U', "7 e")]].concat();
        assert_eq!(
            say(&mut Reports::default(), &all),
            [
                "died",
                OF_PROGRAM,
                "  #0 0x0000000000001010 f+0x1 (/no/a+0x10)",
                "  #1 0x0000000000001020 (/no/a+0x1f)"
            ]
        );
        // Without the end the kernel's lines are shown.
        let cut = [&unwound[..], &kernel[..]].concat();
        assert_eq!(say(&mut Reports::default(), &cut), ["died", OF_PROGRAM, kernel[2].1]);
        assert_eq!(say(&mut Reports::default(), &kernel), ["died", OF_PROGRAM, kernel[2].1]);
        for wrong in ["", "x r", "7", "7 s", "7 m", "7 q 1", "7 e"] {
            assert!(Reports::default().unwind(wrong).is_empty());
        }
    }

    #[test]
    fn a_frame_of_another_kernel_stays_as_it_is() {
        let said = [('P', OF_KERNEL), ('P', "  0x00000010 nothing+0x4"), ('P', "  0x0"), ('P', "end")];
        assert_eq!(say(&mut Reports::default(), &said), said.map(|(_, text)| text));
    }
}
