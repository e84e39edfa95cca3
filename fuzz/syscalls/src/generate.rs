//! Makes programs, and changes those that were worth keeping.

use anyhow::{Result, bail};
use fastrand::Rng;
use xtask::system_calls::SystemCall;

use crate::encode::{MAX_CALLS, MAX_THREADS};
use crate::kinds::{Maker, given_kind};
use crate::program::{Call, Program, Source, Value};
use crate::scenes::{self, Stage};

/// Calls that are left out, since they do what they should: end the machine, or write over the executor.
const LEFT_OUT: &[&str] = &["reboot", "process_vm_writev"];
/// Calls of a new program at most.
const NEW_CALLS: usize = 24;
/// Of so many calls, one is made many times, and how often at most.
const REPEATED_ONE_IN: u32 = 40;
const MAX_TIMES: u32 = 20_000;
/// Of so many new programs, one begins with a scene.
const SCENE_ONE_IN: u32 = 4;
/// Of so many programs, one runs as root.
const ROOT_ONE_IN: u32 = 2;

/// Makes programs of the calls in the table.
pub struct Generator {
    calls: Vec<SystemCall>,
    /// For each call, the indices of calls of the same source file.
    relatives: Vec<Vec<usize>>,
    rng: Rng,
}

impl Generator {
    /// A generator of calls from this table.
    ///
    /// # Errors
    /// If an argument's kind is unknown.
    pub fn new(calls: Vec<SystemCall>, seed: u64) -> Result<Self> {
        let calls: Vec<SystemCall> =
            calls.into_iter().filter(|call| !LEFT_OUT.contains(&call.name.as_str())).collect();
        let file = |call: &SystemCall| call.function.rsplit_once("::").map(|(file, _)| file.to_owned());
        let relatives = calls
            .iter()
            .map(|call| (0..calls.len()).filter(|other| file(&calls[*other]) == file(call)).collect())
            .collect();
        let mut this = Self { calls, relatives, rng: Rng::with_seed(seed) };
        for call in &this.calls {
            for argument in &call.arguments {
                if (Maker { rng: &mut this.rng, results: &[] }).value(argument).is_none() {
                    bail!("{}: no values are known for the kind of argument `{}`", call.name, argument.kind);
                }
            }
        }
        Ok(this)
    }

    /// The next program: a new one, or a change of one from the corpus.
    pub fn next(&mut self, corpus: &[Program]) -> Program {
        if corpus.is_empty() || self.rng.u32(..4) == 0 {
            return self.fresh();
        }
        // What was found last has been tried least.
        let recent = corpus.len().saturating_sub(64);
        let index = if self.rng.bool() {
            self.rng.usize(recent..corpus.len())
        } else {
            self.rng.usize(..corpus.len())
        };
        let mut program = corpus[index].clone();
        for _ in 0..=self.rng.usize(..4) {
            let other = &corpus[self.rng.usize(..corpus.len())];
            self.change(&mut program, other);
        }
        program
    }

    fn fresh(&mut self) -> Program {
        let threads = if self.rng.bool() { 1 } else { 1 + self.rng.usize(..MAX_THREADS) };
        let mut program = Program { root: self.rng.u32(..ROOT_ONE_IN) == 0, threads, calls: Vec::new() };
        if self.rng.u32(..SCENE_ONE_IN) == 0 {
            self.add_scene(&mut program);
        }
        for _ in 0..self.rng.usize(2..=NEW_CALLS) {
            let at = program.calls.len();
            let call = self.call(&program, at);
            program.calls.push(call);
        }
        program
    }

    /// Lets a scene follow what a program does.
    fn add_scene(&mut self, program: &mut Program) {
        let number = |name: &str| self.calls.iter().find(|call| call.name == name).map(|call| call.number);
        let stage = Stage { start: program.calls.len(), number: &number };
        let scene = scenes::any(&mut self.rng, &stage);
        if program.calls.len() + scene.len() <= MAX_CALLS {
            program.calls.extend(scene);
        }
    }

    /// Results that a call at index `at` can use.
    fn results(&self, program: &Program, at: usize) -> Vec<(String, Source)> {
        let mut results = Vec::new();
        for (index, made) in program.calls[..at].iter().enumerate() {
            let Some(call) = self.calls.iter().find(|call| call.number == made.number) else { continue };
            if let Some(kind) = &call.result {
                results.push((kind.clone(), Source { call: index, part: 0 }));
            }
            for (kind, count) in call.arguments.iter().filter_map(|argument| given_kind(&argument.kind)) {
                results.extend((1..=count).map(|part| (kind.to_owned(), Source { call: index, part })));
            }
        }
        results
    }

    /// A call for index `at` of a program.
    fn call(&mut self, program: &Program, at: usize) -> Call {
        let mut index = self.rng.usize(..self.calls.len());
        // Calls of one family have more to say to each other.
        if at > 0 && self.rng.u32(..3) != 0 {
            let near = program.calls[self.rng.usize(..at)].number;
            if let Some(near) = self.calls.iter().position(|call| call.number == near) {
                index = self.relatives[near][self.rng.usize(..self.relatives[near].len())];
            }
        }
        let results = self.results(program, at);
        let call = &self.calls[index];
        let mut maker = Maker { rng: &mut self.rng, results: &results };
        let arguments = call.arguments.iter().filter_map(|argument| maker.value(argument)).collect();
        Call {
            thread: self.rng.usize(..program.threads.max(1)),
            number: call.number,
            name: call.name.clone(),
            arguments,
            times: if self.rng.u32(..REPEATED_ONE_IN) == 0 { self.times() } else { 1 },
        }
    }

    /// How often a call is repeated: as often between 2 and 20 as between 2,000 and 20,000.
    fn times(&mut self) -> u32 {
        let limit = MAX_TIMES >> self.rng.u32(..MAX_TIMES.ilog2());
        2 + self.rng.u32(..limit)
    }

    fn change(&mut self, program: &mut Program, other: &Program) {
        let len = program.calls.len();
        match self.rng.u32(..16) {
            0..=4 if len < MAX_CALLS => {
                let at = self.rng.usize(..=len);
                let call = self.call(program, at);
                program.insert(at, call);
            }
            5 if len > 1 => program.remove(self.rng.usize(..len)),
            6 if len > 0 && len < MAX_CALLS => {
                let at = self.rng.usize(..len);
                let call = program.calls[at].clone();
                program.insert(at + 1, call);
            }
            7 => program.threads = 1 + self.rng.usize(..MAX_THREADS),
            8 if len > 0 => {
                program.calls[self.rng.usize(..len)].thread = self.rng.usize(..program.threads.max(1))
            }
            9 => program.root = !program.root,
            10 if self.rng.bool() => append(program, other),
            10 => self.add_scene(program),
            11 if len > 0 => {
                let times = if self.rng.bool() { self.times() } else { 1 };
                program.calls[self.rng.usize(..len)].times = times;
            }
            _ if len > 0 => {
                let at = self.rng.usize(..len);
                self.change_argument(program, at);
            }
            _ => {}
        }
    }

    fn change_argument(&mut self, program: &mut Program, at: usize) {
        let results = self.results(program, at);
        let number = program.calls[at].number;
        let Some(call) = self.calls.iter().find(|call| call.number == number) else { return };
        if call.arguments.is_empty() {
            return;
        }
        let index = self.rng.usize(..call.arguments.len());
        let mut maker = Maker { rng: &mut self.rng, results: &results };
        let Some(slot) = program.calls[at].arguments.get_mut(index) else { return };
        match slot {
            Value::Number(value) if maker.one_in(3) => {
                *value = match maker.rng.u32(..4) {
                    0 => *value ^ 1 << maker.rng.u32(..64),
                    1 => value.wrapping_add(maker.rng.u64(..17)).wrapping_sub(8),
                    2 => maker.edge(),
                    _ => *value ^ 1 << maker.rng.u32(..12),
                }
            }
            _ => {
                if let Some(value) = maker.value(&call.arguments[index]) {
                    *slot = value;
                }
            }
        }
    }
}

/// Lets another program follow.
fn append(program: &mut Program, other: &Program) {
    let before = program.calls.len();
    let mut tail = other.clone();
    tail.calls.truncate(MAX_CALLS.saturating_sub(before));
    let kept = tail.calls.len();
    tail.map_sources(|source| {
        (source.call < kept).then_some(Source { call: source.call + before, ..source })
    });
    program.threads = program.threads.max(other.threads);
    program.calls.extend(tail.calls);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn generator(seed: u64) -> Generator {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the repository");
        Generator::new(xtask::system_calls::read(repository).expect("the table"), seed)
            .expect("all kinds are known")
    }

    /// Every use of a result is of an earlier call.
    fn is_well_formed(program: &Program) -> bool {
        let mut checked = program.clone();
        let mut good = program.calls.len() <= MAX_CALLS && (1..=MAX_THREADS).contains(&program.threads);
        for index in 0..checked.calls.len() {
            let mut one = Program { calls: vec![checked.calls.remove(0)], ..Program::default() };
            let before = one.clone();
            one.map_sources(|source| (source.call < index).then_some(source));
            good &= one == before;
        }
        good
    }

    #[test]
    fn programs_use_results_of_earlier_calls_only() {
        let mut generator = generator(3);
        let mut corpus = Vec::new();
        for _ in 0..2000 {
            let program = generator.next(&corpus);
            assert!(is_well_formed(&program), "{program}");
            corpus.push(program);
        }
    }

    #[test]
    fn scenes_are_of_calls_as_the_table_has_them() {
        let mut generator = generator(9);
        for _ in 0..200 {
            let mut program = Program { threads: 1, ..Program::default() };
            generator.add_scene(&mut program);
            generator.add_scene(&mut program);
            assert!(!program.calls.is_empty() && is_well_formed(&program), "{program}");
            for made in &program.calls {
                let call = generator.calls.iter().find(|call| call.number == made.number).expect("a call");
                assert_eq!(call.arguments.len(), made.arguments.len(), "{}", made.name);
            }
        }
    }

    #[test]
    fn one_seed_makes_the_same_programs() {
        let (mut one, mut other) = (generator(5), generator(5));
        let programs: Vec<Program> = (0..50).map(|_| one.next(&[])).collect();
        assert!(programs.iter().all(|program| *program == other.next(&[])));
        assert!(generator(6).next(&[]) != programs[0]);
    }
}
