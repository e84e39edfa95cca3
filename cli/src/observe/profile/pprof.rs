//! A profile in the format of pprof (github.com/google/pprof, proto/profile.proto).

use std::collections::HashMap;

use prost::Message;

use super::output::{Measure, Profile};
use super::resolve::Frame;

/// `perftools.profiles.Profile`; the fields that are written, with their numbers there.
#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

/// Texts are given by their places in the table of texts.
#[derive(Clone, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    /// The innermost first.
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
    #[prost(int64, tag = "3")]
    number: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
    #[prost(bool, tag = "8")]
    has_filenames: bool,
    #[prost(bool, tag = "9")]
    has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    has_inline_frames: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    /// The functions that were inlined first.
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// Fills a file, each thing once.
#[derive(Default)]
struct Filler {
    file: File,
    texts: HashMap<String, i64>,
    mappings: HashMap<String, u64>,
    functions: HashMap<(String, String), u64>,
    locations: HashMap<Frame, u64>,
}

impl Filler {
    fn text(&mut self, text: &str) -> i64 {
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        let place = i64::try_from(self.file.string_table.len()).unwrap_or_default();
        self.file.string_table.push(text.to_owned());
        self.texts.insert(text.to_owned(), place);
        place
    }

    fn mapping(&mut self, name: &str) -> u64 {
        if let Some(known) = self.mappings.get(name) {
            return *known;
        }
        let (id, filename) = (self.file.mapping.len() as u64 + 1, self.text(name));
        self.file.mapping.push(Mapping { id, filename, has_functions: true, ..Mapping::default() });
        self.mappings.insert(name.to_owned(), id);
        id
    }

    /// A function of a source, or, if that is not known, of the file that it is in.
    fn function(&mut self, function: &str, file: &str) -> u64 {
        let key = (function.to_owned(), file.to_owned());
        if let Some(known) = self.functions.get(&key) {
            return *known;
        }
        let (id, name, filename) =
            (self.file.function.len() as u64 + 1, self.text(function), self.text(file));
        self.file.function.push(Function { id, name, system_name: name, filename });
        self.functions.insert(key, id);
        id
    }

    fn location(&mut self, frame: &Frame) -> u64 {
        if let Some(known) = self.locations.get(frame) {
            return *known;
        }
        let mapping_id = self.mapping(&frame.file);
        let id = self.file.location.len() as u64 + 1;
        let line = match frame.sources.is_empty() {
            true => vec![Line { function_id: self.function(&frame.function, &frame.file), line: 0 }],
            false => {
                let place = usize::try_from(mapping_id - 1).unwrap_or_default();
                if let Some(mapping) = self.file.mapping.get_mut(place) {
                    mapping.has_filenames = true;
                    mapping.has_line_numbers = true;
                    mapping.has_inline_frames = true;
                }
                let sources = frame.sources.iter().map(|source| {
                    let file = if source.file.is_empty() { &frame.file } else { &source.file };
                    Line { function_id: self.function(&source.function, file), line: source.line.into() }
                });
                sources.collect()
            }
        };
        self.file.location.push(Location { id, mapping_id, address: frame.address, line });
        self.locations.insert(frame.clone(), id);
        id
    }
}

/// The bytes, not compressed yet.
pub fn encode(profile: &Profile) -> Vec<u8> {
    const SECOND: i64 = 1_000_000_000;
    let mut filler = Filler::default();
    // The first text is empty.
    filler.text("");
    let (event, unit) = profile.measure.words();
    let kind = ValueType { kind: filler.text(event), unit: filler.text(unit) };
    filler.file.sample_type = vec![kind];
    let period = match profile.measure {
        Measure::Samples => {
            let time = ValueType { kind: filler.text("cpu"), unit: filler.text("nanoseconds") };
            filler.file.sample_type.push(time.clone());
            filler.file.period_type = Some(time);
            SECOND / i64::from(profile.frequency.max(1))
        }
        Measure::Instructions => {
            filler.file.period_type = Some(filler.file.sample_type[0].clone());
            i64::try_from(profile.instructions).unwrap_or(i64::MAX)
        }
        Measure::Sleep => 1,
    };
    filler.file.period = period;
    filler.file.duration_nanos = i64::try_from(profile.duration_ns).unwrap_or(i64::MAX);
    for found in &profile.found {
        let (pid, tid, name) = &found.thread;
        let location_id = found.frames.iter().map(|frame| filler.location(frame)).collect();
        let weight = i64::try_from(found.weight).unwrap_or(i64::MAX);
        let mut value = vec![weight];
        if profile.measure == Measure::Samples {
            value.push(weight.saturating_mul(period));
        }
        let label = vec![
            Label { key: filler.text("thread"), text: filler.text(name), number: 0 },
            Label { key: filler.text("pid"), text: 0, number: i64::from(*pid) },
            Label { key: filler.text("tid"), text: 0, number: i64::from(*tid) },
        ];
        filler.file.sample.push(Sample { location_id, value, label });
    }
    filler.file.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::output::tests::example;
    use super::*;

    #[test]
    fn all_is_there_and_each_thing_once() {
        let file = File::decode(&encode(&example())[..]).unwrap();
        assert_eq!(file.sample.len(), 3);
        assert_eq!((file.function.len(), file.location.len(), file.mapping.len()), (3, 2, 2));
        let text = |place: i64| file.string_table[place as usize].as_str();
        let inner = file.sample[0].location_id[0];
        let location = file.location.iter().find(|one| one.id == inner).unwrap();
        let function = file.function.iter().find(|one| one.id == location.line[0].function_id).unwrap();
        assert_eq!(text(function.name), "read");
        // What was inlined comes first, each with its line.
        let outer = file.location.iter().find(|one| one.id == file.sample[1].location_id[0]).unwrap();
        let lines = outer.line.iter().map(|line| {
            let function = file.function.iter().find(|one| one.id == line.function_id).unwrap();
            (text(function.name), text(function.filename), line.line)
        });
        assert_eq!(lines.collect::<Vec<_>>(), [("inlined", "web.c", 7), ("main", "web.c", 20)]);
        assert!(file.mapping.iter().any(|mapping| mapping.has_line_numbers));
        assert_eq!(file.sample[2].value, [3, 3 * (1_000_000_000 / 99)]);
        assert_eq!(text(0), "");
    }
}
