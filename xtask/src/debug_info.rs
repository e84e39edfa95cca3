//! What the debugging information of the built kernel says of an instruction: the functions that it belongs to, and what the
//! source calls there.
use addr2line::Context;
use addr2line::gimli::{self, EndianSlice, RunTimeEndian};
use object::{Object as _, ObjectSection as _};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The functions that an instruction belongs to: the innermost of those that were inlined there first.
pub trait Frames {
    /// Those of the instruction at `address`; empty if nothing is known.
    fn at(&self, address: u64) -> Vec<String>;

    /// The name that the source calls there: of a method, a function or a variable.
    fn called(&self, address: u64) -> Option<String>;
}

/// The debugging information, and the source that it names.
pub struct Dwarf<'a> {
    context: Context<EndianSlice<'a, RunTimeEndian>>,
    /// The lines of the files of the source.
    files: RefCell<BTreeMap<String, Vec<String>>>,
}

impl<'a> Dwarf<'a> {
    /// Of the ELF file with these bytes.
    ///
    /// # Errors
    /// A text for people, if there is none.
    pub fn parse(bytes: &'a [u8]) -> Result<Dwarf<'a>, String> {
        let file = object::File::parse(bytes).map_err(|error| error.to_string())?;
        let section = |id: gimli::SectionId| -> Result<_, gimli::Error> {
            let data = file.section_by_name(id.name()).and_then(|section| section.data().ok()).unwrap_or(&[]);
            Ok(EndianSlice::new(data, RunTimeEndian::Little))
        };
        let dwarf = gimli::Dwarf::load(section).map_err(|error| error.to_string())?;
        let context =
            Context::from_dwarf(dwarf).map_err(|error| format!("debugging information: {error}"))?;
        Ok(Dwarf { context, files: RefCell::default() })
    }
}

impl Frames for Dwarf<'_> {
    fn at(&self, address: u64) -> Vec<String> {
        let mut names = Vec::new();
        let Ok(mut frames) = self.context.find_frames(address).skip_all_loads() else { return names };
        while let Ok(Some(frame)) = frames.next() {
            let Some(name) = frame.function.and_then(|function| function.raw_name().ok().map(String::from))
            else {
                continue;
            };
            names.push(format!("{:#}", rustc_demangle::demangle(&name)));
        }
        names
    }

    fn called(&self, address: u64) -> Option<String> {
        let mut frames = self.context.find_frames(address).skip_all_loads().ok()?;
        let place = frames.next().ok()??.location?;
        let (file, line, column) = (place.file?, place.line?.checked_sub(1)?, place.column?.checked_sub(1)?);
        let mut files = self.files.borrow_mut();
        let lines = files.entry(file.to_owned()).or_insert_with(|| {
            std::fs::read_to_string(file).unwrap_or_default().lines().map(String::from).collect()
        });
        let text = lines.get(line as usize)?.get(column as usize..)?;
        called_name(text).map(String::from)
    }
}

/// The name at the beginning of a piece of source, if it is called there: arguments follow it, with types before them at most.
fn called_name(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    (!name.is_empty() && (rest.starts_with('(') || rest.starts_with("::<"))).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_is_followed_by_its_arguments() {
        assert_eq!(called_name("read(dst, at)?;"), Some("read"));
        assert_eq!(called_name("downcast::<Pipe>()"), Some("downcast"));
        assert_eq!(called_name("size"), None);
        assert_eq!(called_name("SpinMutex {"), None);
        assert_eq!(called_name("(self.make)(context)"), None);
    }
}
