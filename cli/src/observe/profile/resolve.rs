//! From samples to the names of functions.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use super::super::client::Client;
use super::super::outside::Kernel;
use super::super::stack::{Files, GuestMemory, Mapping, mapping};
use super::super::symbols::Module;
use super::super::unwind::{Registers, by_frame_pointer, register};
use super::sample::{Copy, MOST_FRAMES, Sample};
use crate::error::{Result, warn};

/// The place of a kernel's function.
pub const KERNEL: &str = "[kernel]";

/// A function at an address, and where it is in its source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// The function.
    pub function: Rc<str>,
    /// The file; empty: it is not known.
    pub file: Rc<str>,
    /// The line; 0: it is not known.
    pub line: u32,
}

/// A frame of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frame {
    /// The function.
    pub function: Rc<str>,
    /// The file that it is in, or [`KERNEL`].
    pub file: Rc<str>,
    /// The address in that.
    pub address: u64,
    /// How far that is from the function's beginning.
    pub distance: u64,
    /// The functions there by their sources, those that were inlined first; empty: they are not known, or not wanted.
    pub sources: Rc<[Source]>,
}

impl Frame {
    /// Whether it is the kernel's.
    pub fn is_kernel(&self) -> bool {
        &*self.file == KERNEL
    }
}

/// Finds the frames of samples.
pub struct Resolver<'a> {
    kernel: &'a Kernel,
    files: Files,
    maps: HashMap<u32, Vec<Mapping>>,
    names: HashMap<String, Rc<str>>,
    /// Lines of sources are wanted.
    has_lines: bool,
    /// What was found of them, by files and addresses there.
    sources: HashMap<(Rc<str>, u64), Rc<[Source]>>,
}

impl<'a> Resolver<'a> {
    /// With the kernel's functions. `has_lines`: lines of sources are found, too.
    pub fn new(kernel: &'a Kernel, has_lines: bool) -> Self {
        Resolver {
            kernel,
            files: Files::default(),
            maps: HashMap::new(),
            names: HashMap::new(),
            has_lines,
            sources: HashMap::new(),
        }
    }

    /// The functions at an address of a file.
    fn sources(&mut self, module: &Module, file: &Rc<str>, address: u64) -> Rc<[Source]> {
        if !self.has_lines {
            return Rc::default();
        }
        let key = (Rc::clone(file), address);
        if let Some(known) = self.sources.get(&key) {
            return Rc::clone(known);
        }
        let named = module.named(address, 0);
        let is_known = named.iter().any(|one| one.place.is_some());
        let all = named.iter().filter(|_| is_known).map(|one| Source {
            function: self.name(&one.function),
            file: self.name(one.place.as_ref().map_or("", |place| &place.file)),
            line: one.place.as_ref().map_or(0, |place| place.line),
        });
        let all: Rc<[Source]> = all.collect();
        self.sources.insert(key, Rc::clone(&all));
        all
    }

    /// A name, of which one copy is kept.
    fn name(&mut self, name: &str) -> Rc<str> {
        match self.names.get(name) {
            Some(known) => Rc::clone(known),
            None => {
                let new: Rc<str> = name.into();
                self.names.insert(name.to_owned(), Rc::clone(&new));
                new
            }
        }
    }

    /// The frames of a sample, the innermost first.
    pub fn frames(&mut self, sample: &Sample, client: &mut Client) -> Result<Vec<Frame>> {
        let mut all = self.kernel_frames(&sample.kernel);
        if let Some(registers) = sample.program {
            all.extend(self.program_frames(sample.running.pid, registers, &sample.stack, client)?);
        }
        Ok(all)
    }

    /// The frames at addresses of the kernel.
    pub fn kernel_frames(&mut self, addresses: &[u64]) -> Vec<Frame> {
        let kernel = self.kernel;
        let frames = addresses.iter().map(|&address| {
            let (name, distance) = kernel.module.function(address).unwrap_or(("?", 0));
            let file = self.name(KERNEL);
            let sources = self.sources(&kernel.module, &file, address);
            Frame { function: self.name(name), file, address, distance, sources }
        });
        frames.collect()
    }

    /// The frames of a program with these registers.
    pub fn program_frames(
        &mut self,
        pid: u32,
        mut registers: Registers,
        stack: &Copy,
        client: &mut Client,
    ) -> Result<Vec<Frame>> {
        let mut all = Vec::new();
        while let Some(address) = registers[register::RIP] {
            // As in the kernel; but the innermost frame is at its own instruction.
            let calling = if all.is_empty() { address } else { address.wrapping_sub(1) };
            self.know(pid, calling, client)?;
            let Some(mapping) = find(&self.maps, pid, calling) else { break };
            if !mapping.is_code {
                break;
            }
            let offset = calling - mapping.start + mapping.offset;
            let module = self.files.module(mapping, &mut GuestMemory::new(client, pid));
            let module = module.as_deref();
            let linked = module.and_then(|module| module.linked_address(offset));
            let function = module.zip(linked).and_then(|(module, linked)| {
                let unnamed = || {
                    let start = module.frames.function_start(linked)?;
                    Some((format!("{start:#x}"), linked - start))
                };
                let named = module.function(linked).map(|(name, distance)| (name.to_owned(), distance));
                named.or_else(unnamed)
            });
            let mut read = |address| stack.word(address);
            let by_table = module
                .zip(linked)
                .and_then(|(module, linked)| module.frames.caller(linked, &registers, &mut read));
            let caller = by_table.or_else(|| by_frame_pointer(&registers, &mut read));
            let file =
                Path::new(&mapping.name).file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (name, distance) = match function {
                // One without a symbol is named after its file and its address there.
                Some((name, distance)) if name.starts_with("0x") => (format!("{file}@{name}"), distance),
                Some(function) => function,
                None => (format!("{file}@?"), 0),
            };
            let file = self.name(&file);
            let sources = module.zip(linked).map(|(module, linked)| self.sources(module, &file, linked));
            all.push(Frame {
                function: self.name(&name),
                file,
                address: linked.unwrap_or(offset),
                distance,
                sources: sources.unwrap_or_default(),
            });
            match caller {
                // A stack grows downwards: a caller's frame lies higher.
                Some(caller)
                    if caller[register::RSP] > registers[register::RSP] && all.len() < MOST_FRAMES =>
                {
                    registers = caller;
                }
                _ => break,
            }
        }
        Ok(all)
    }

    /// Asks what a process has mapped, unless that is known of an address.
    fn know(&mut self, pid: u32, address: u64, client: &mut Client) -> Result<()> {
        // A guest that does not answer is not asked again: that would take long each time.
        if find(&self.maps, pid, address).is_none() && !client.is_silent() {
            let maps = match client.text(&format!("/proc/{pid}/maps")) {
                Err(_) if client.is_silent() => {
                    warn("the guest does not answer: its programs' functions have no names");
                    return Ok(());
                }
                other => other?,
            };
            let maps: Vec<Mapping> = maps.lines().filter_map(mapping).collect();
            // One that has ended has none: what was known of it is kept.
            if !maps.is_empty() || !self.maps.contains_key(&pid) {
                self.maps.insert(pid, maps);
            }
        }
        Ok(())
    }
}

fn find(maps: &HashMap<u32, Vec<Mapping>>, pid: u32, address: u64) -> Option<&Mapping> {
    maps.get(&pid)?.iter().find(|map| (map.start..map.end).contains(&address))
}
