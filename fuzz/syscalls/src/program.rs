//! Programs: sequences of system calls, whose arguments may be results of earlier ones.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

/// A program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Whether it runs as root; else as an ordinary user.
    pub root: bool,
    /// Threads among which the calls are divided, at least 1.
    pub threads: usize,
    /// The calls, in the order in which one thread makes its own.
    pub calls: Vec<Call>,
}

/// A system call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The thread that makes it, from 0.
    pub thread: usize,
    /// Its number.
    pub number: u32,
    /// Its name, for readers.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<Value>,
    /// How often it is made, with the same arguments: what uses up something runs out of it. Later calls get the last result.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// An argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// A number.
    Number(u64),
    /// What an earlier call returned.
    Result(Source),
    /// The address of this.
    Memory(Vec<Field>),
}

/// A result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Index of the call in the program.
    pub call: usize,
    /// 0 is what it returned; N the N-th number of its [`Field::Given`].
    pub part: usize,
}

/// A part of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A little-endian number of so many bytes.
    Number(usize, u64),
    /// A result, in so many bytes.
    Result(usize, Source),
    /// The address of this.
    Pointer(Vec<Field>),
    /// Two 32-bit numbers that the call writes, for later calls.
    Given,
    /// So many bytes that are left as they are.
    Room(usize),
}

impl Program {
    /// Applies `change` to every use of a result; a use for which it returns `None` becomes the number -1.
    pub fn map_sources(&mut self, change: impl Fn(Source) -> Option<Source>) {
        for call in &mut self.calls {
            call.map_sources(&change);
        }
    }

    /// Removes a call; uses of its results become -1.
    pub fn remove(&mut self, index: usize) {
        self.calls.remove(index);
        self.map_sources(|source| match source.call.cmp(&index) {
            std::cmp::Ordering::Less => Some(source),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(Source { call: source.call - 1, ..source }),
        });
    }

    /// Inserts a call whose sources count as after the insertion.
    pub fn insert(&mut self, index: usize, call: Call) {
        self.map_sources(|source| {
            Some(if source.call >= index { Source { call: source.call + 1, ..source } } else { source })
        });
        self.calls.insert(index, call);
    }
}

impl Call {
    /// The same for one call.
    pub fn map_sources(&mut self, change: &impl Fn(Source) -> Option<Source>) {
        for value in &mut self.arguments {
            match value {
                Value::Number(_) => {}
                Value::Result(source) => match change(*source) {
                    Some(changed) => *source = changed,
                    None => *value = Value::Number(u64::MAX),
                },
                Value::Memory(fields) => map_fields(fields, change),
            }
        }
    }
}

fn map_fields(fields: &mut [Field], change: &impl Fn(Source) -> Option<Source>) {
    for field in fields {
        match field {
            Field::Result(size, source) => match change(*source) {
                Some(changed) => *source = changed,
                None => *field = Field::Number(*size, u64::MAX),
            },
            Field::Pointer(fields) => map_fields(fields, change),
            Field::Bytes(_) | Field::Number(..) | Field::Given | Field::Room(_) => {}
        }
    }
}

impl fmt::Display for Program {
    /// One call a line, nearly as C has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "// as {}, {} thread(s)", if self.root { "root" } else { "user" }, self.threads)?;
        for (index, call) in self.calls.iter().enumerate() {
            let arguments: Vec<String> = call.arguments.iter().map(show_value).collect();
            let times = if call.times == 1 { String::new() } else { format!(" // {} times", call.times) };
            writeln!(f, "[{}] r{index} = {}({}){times}", call.thread, call.name, arguments.join(", "))?;
        }
        Ok(())
    }
}

fn show_number(value: u64) -> String {
    let signed = value.cast_signed();
    if (-4096..4096).contains(&signed) { format!("{signed}") } else { format!("{value:#x}") }
}

fn show_source(source: Source) -> String {
    if source.part == 0 { format!("r{}", source.call) } else { format!("r{}.{}", source.call, source.part) }
}

fn show_value(value: &Value) -> String {
    match value {
        Value::Number(value) => show_number(*value),
        Value::Result(source) => show_source(*source),
        Value::Memory(fields) => format!("&{}", show_fields(fields)),
    }
}

fn show_fields(fields: &[Field]) -> String {
    let parts: Vec<String> = fields
        .iter()
        .map(|field| match field {
            Field::Bytes(bytes) => show_bytes(bytes),
            Field::Number(size, value) => {
                let mask = if *size >= 8 { u64::MAX } else { (1 << (size * 8)) - 1 };
                format!("u{}:{}", size * 8, show_number(value & mask))
            }
            Field::Result(size, source) => format!("u{}:{}", size * 8, show_source(*source)),
            Field::Pointer(fields) => format!("&{}", show_fields(fields)),
            Field::Given => String::from("given"),
            Field::Room(bytes) => format!("room:{bytes}"),
        })
        .collect();
    format!("{{{}}}", parts.join(", "))
}

fn show_bytes(bytes: &[u8]) -> String {
    const SHOWN: usize = 48;
    let mut text = String::from("\"");
    for byte in bytes.iter().take(SHOWN) {
        let _ = write!(text, "{}", byte.escape_ascii());
    }
    text.push('"');
    if bytes.len() > SHOWN {
        let _ = write!(text, "... ({} bytes)", bytes.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Program {
        let call = |source: Option<usize>| Call {
            thread: 0,
            number: 0,
            name: String::from("x"),
            times: 1,
            arguments: source.map(|call| Value::Result(Source { call, part: 0 })).into_iter().collect(),
        };
        Program {
            root: false,
            threads: 1,
            calls: vec![call(None), call(Some(0)), call(Some(1)), call(Some(0))],
        }
    }

    #[test]
    fn a_removed_call_leaves_other_uses_as_they_were() {
        let mut program = chain();
        program.remove(1);
        assert_eq!(program.calls[1].arguments, [Value::Number(u64::MAX)]);
        assert_eq!(program.calls[2].arguments, [Value::Result(Source { call: 0, part: 0 })]);
    }

    #[test]
    fn an_inserted_call_moves_uses_of_those_behind_it() {
        let mut program = chain();
        let call = program.calls[0].clone();
        program.insert(1, call);
        assert_eq!(program.calls[3].arguments, [Value::Result(Source { call: 2, part: 0 })]);
        assert_eq!(program.calls[4].arguments, [Value::Result(Source { call: 0, part: 0 })]);
    }
}
