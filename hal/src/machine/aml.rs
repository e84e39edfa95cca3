//! ACPI's byte code, as far as it is needed to find a PCI host bridge (ACPI 6.4, chapters 19 and 20).
//!
//! Nothing is executed. The walk steps from one named object to the next by the lengths that are encoded in the code, and
//! reads constants. It ends at any other term: objects behind that are not found.
use crate::machine::firmware::{u16_at, u32_at, u64_at};
use crate::machine::host_bridge::{HostBridge, Windows};
use alloc::vec;
use alloc::vec::Vec;

/// Ids of a PCI Express host bridge in `_HID` (6.1.5): as text, and compressed to 32 bits.
const HOST_BRIDGE_TEXT: &[u8] = b"\x0dPNP0A08\0";
const HOST_BRIDGE_NUMBER: &[u8] = &[0x0c, 0x41, 0xd0, 0x0a, 0x08];
/// `PackageOp`, `BufferOp`, `ReturnOp` (20.2.5).
const BUFFER: u8 = 0x11;
const RETURN: u8 = 0xa4;

/// The first PCI Express host bridge that a table declares with the place of its configuration space. `code`: the table
/// behind its header.
pub fn host_bridge(code: &[u8]) -> Option<HostBridge> {
    let mut scopes = vec![code];
    while let Some(scope) = scopes.pop() {
        for term in Terms(scope) {
            match term {
                Term::Scope { body } => scopes.push(body),
                Term::Device { body } => {
                    if let Some(found) = bridge(body) {
                        return Some(found);
                    }
                    scopes.push(body);
                }
                _ => {}
            }
        }
    }
    None
}

/// The host bridge that the objects in a device describe; `_CBA` is the address of its configuration space (PCI Firmware
/// Specification 3.3, 4.1.3).
fn bridge(device: &[u8]) -> Option<HostBridge> {
    let (mut is_bridge, mut ecam, mut windows) = (false, None, Windows::default());
    for term in Terms(device) {
        match term {
            Term::Name { name: b"_HID", value } => {
                is_bridge = value.starts_with(HOST_BRIDGE_TEXT) || value.starts_with(HOST_BRIDGE_NUMBER);
                if !is_bridge {
                    return None;
                }
            }
            Term::Name { name: b"_CBA", value } => ecam = integer(value, 0),
            // The flags come first; then it returns a constant.
            Term::Method { name: b"_CBA", body: [_, RETURN, value @ ..] } => ecam = integer(value, 0),
            Term::Name { name: b"_CRS", value: [BUFFER, buffer @ ..] } => {
                let (len, at) = package_length(buffer)?;
                let buffer = buffer.get(at..len)?;
                let (_, at) = integer(buffer, 0)?;
                windows = memory_windows(&buffer[at..]);
            }
            _ => {}
        }
    }
    let (ecam, _) = ecam.filter(|_| is_bridge)?;
    Some(HostBridge { ecam, last_bus: u8::MAX, windows })
}

/// The memory ranges among resource descriptors (6.4.3.5.1 and 6.4.3.5.2): the address that a device sees must be the
/// one that CPUs use.
fn memory_windows(mut resources: &[u8]) -> Windows {
    const DWORD: u8 = 0x87;
    const QWORD: u8 = 0x8a;
    const MEMORY: u8 = 0;
    let mut windows = Vec::new();
    while let Some(&tag) = resources.first() {
        let len = if tag & 0x80 != 0 {
            3 + usize::from(u16_at(resources, 1).unwrap_or(u16::MAX))
        } else {
            1 + usize::from(tag & 7)
        };
        let Some((resource, rest)) = resources.split_at_checked(len) else { break };
        let field = |index: usize| match tag {
            DWORD => u32_at(resource, 6 + 4 * index).map(u64::from),
            _ => u64_at(resource, 6 + 8 * index),
        };
        // Granularity, lowest and highest address, translation, length.
        if matches!(tag, DWORD | QWORD)
            && resource.get(3) == Some(&MEMORY)
            && let (Some(low), Some(high), Some(0)) = (field(1), field(2), field(3))
            && low < high
        {
            windows.push(low..high.saturating_add(1));
        }
        resources = rest;
    }
    Windows(windows)
}

/// What the walk understands.
enum Term<'a> {
    Scope {
        body: &'a [u8],
    },
    Device {
        body: &'a [u8],
    },
    /// The body begins with the flags.
    Method {
        name: &'a [u8; 4],
        body: &'a [u8],
    },
    Name {
        name: &'a [u8; 4],
        value: &'a [u8],
    },
    Other,
}

/// The terms of a piece of code, one after the other.
struct Terms<'a>(&'a [u8]);

impl<'a> Iterator for Terms<'a> {
    type Item = Term<'a>;

    fn next(&mut self) -> Option<Term<'a>> {
        let (term, rest) = term(self.0)?;
        self.0 = rest;
        Some(term)
    }
}

/// The first term of `code`, and what follows it (20.2.5).
fn term(code: &[u8]) -> Option<(Term<'_>, &[u8])> {
    /// Prefix of the second half of the operations, and operations of it.
    const EXTENDED: u8 = 0x5b;
    match code.split_first()? {
        (0x08, rest) => {
            let (name, rest) = name(rest)?;
            let (value, rest) = rest.split_at_checked(data_length(rest)?)?;
            Some((Term::Name { name, value }, rest))
        }
        (0x10, rest) => {
            let (package, rest) = package(rest)?;
            Some((Term::Scope { body: name(package)?.1 }, rest))
        }
        (0x14, rest) => {
            let (package, rest) = package(rest)?;
            let (name, body) = name(package)?;
            Some((Term::Method { name, body }, rest))
        }
        // Alias.
        (0x06, rest) => Some((Term::Other, name(name(rest)?.1)?.1)),
        // External: type and count of arguments follow.
        (0x15, rest) => Some((Term::Other, name(rest)?.1.get(2..)?)),
        (&EXTENDED, rest) => match rest.split_first()? {
            (0x82, rest) => {
                let (package, rest) = package(rest)?;
                Some((Term::Device { body: name(package)?.1 }, rest))
            }
            // Field, Processor, PowerResource, ThermalZone, IndexField, BankField.
            (0x81 | 0x83..=0x87, rest) => Some((Term::Other, package(rest)?.1)),
            // Mutex: flags follow.
            (0x01, rest) => Some((Term::Other, name(rest)?.1.get(1..)?)),
            // Event.
            (0x02, rest) => Some((Term::Other, name(rest)?.1)),
            // OperationRegion: its space, offset and length follow.
            (0x80, rest) => {
                let rest = name(rest)?.1.get(1..)?;
                let rest = rest.get(data_length(rest)?..)?;
                Some((Term::Other, rest.get(data_length(rest)?..)?))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The last four letters of a name, and what follows it (20.2.2).
fn name(mut code: &[u8]) -> Option<(&[u8; 4], &[u8])> {
    const SEGMENT: usize = 4;
    while let [b'\\' | b'^', rest @ ..] = code {
        code = rest;
    }
    let (at, segments) = match *code.first()? {
        0x00 => return Some((b"____", &code[1..])),
        0x2e => (1, 2),
        0x2f => (2, usize::from(*code.get(1)?)),
        _ => (0, 1),
    };
    let (path, rest) = code.split_at_checked(at + SEGMENT * segments)?;
    Some((path.last_chunk()?, rest))
}

/// A length (20.2.4) with the bytes that it is written in, and the number of these.
fn package_length(code: &[u8]) -> Option<(usize, usize)> {
    let first = usize::from(*code.first()?);
    let more = first >> 6;
    if more == 0 {
        return Some((first & 0x3f, 1));
    }
    let high = code.get(1..=more)?.iter().rev().fold(0, |high, byte| high << 8 | usize::from(*byte));
    Some((high << 4 | first & 0xf, 1 + more))
}

/// What a length at the beginning spans, without the length itself, and what follows.
fn package(code: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, at) = package_length(code)?;
    let (package, rest) = code.split_at_checked(len)?;
    Some((package.get(at..)?, rest))
}

/// Bytes of the constant at the beginning (20.2.3).
fn data_length(code: &[u8]) -> Option<usize> {
    match *code.first()? {
        0x00 | 0x01 | 0xff => Some(1),
        0x0a..=0x0c | 0x0e => integer(code, 0).map(|(_, next)| next),
        0x0d => code.iter().position(|&byte| byte == 0).map(|end| end + 1),
        // Buffer, Package, VarPackage.
        0x11..=0x13 => package_length(&code[1..]).map(|(len, _)| 1 + len),
        _ => None,
    }
}

/// A constant (20.2.3) at `at`, and where the next thing begins.
pub fn integer(code: &[u8], at: usize) -> Option<(u64, usize)> {
    match *code.get(at)? {
        0x00 => Some((0, at + 1)),
        0x01 => Some((1, at + 1)),
        0x0a => Some((u64::from(*code.get(at + 1)?), at + 2)),
        0x0b => Some((u64::from(u16_at(code, at + 1)?), at + 3)),
        0x0c => Some((u64::from(u32_at(code, at + 1)?), at + 5)),
        0x0e => Some((u64_at(code, at + 1)?, at + 9)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An operation with a length of two bytes and this content.
    fn sized(operation: &[u8], content: &[u8]) -> Vec<u8> {
        let len = content.len() + 2;
        [operation, &[0x40 | (len & 0xf) as u8, (len >> 4) as u8], content].concat()
    }

    /// Resources as QEMU's microvm declares them: buses, memory below and above 4 GiB, with `translation`.
    fn resources(translation: u8) -> Vec<u8> {
        let mut bytes = b"\x88\x0d\x00\x02\x0c\0\0\0\0\0\xff\0\0\0\0\x01".to_vec();
        let dword = [0u32, 0xc000_0000, 0xdfff_ffff, translation.into(), 0x2000_0000];
        bytes.extend_from_slice(&[0x87, 23, 0, 0, 0xc, 1]);
        dword.iter().for_each(|field| bytes.extend_from_slice(&field.to_le_bytes()));
        let qword = [0u64, 0xc0_0000_0000, 0xff_ffff_ffff, 0, 0x40_0000_0000];
        bytes.extend_from_slice(&[0x8a, 43, 0, 0, 0xc, 1]);
        qword.iter().for_each(|field| bytes.extend_from_slice(&field.to_le_bytes()));
        bytes.extend_from_slice(&[0x79, 0]);
        let content = [&[0x0a, bytes.len() as u8][..], &bytes].concat();
        [&b"\x08_CRS"[..], &sized(&[BUFFER], &content)].concat()
    }

    /// A table with a device of each kind, the last of which is the bridge.
    fn table(id: &[u8], base: &[u8], translation: u8) -> Vec<u8> {
        let bridge = [&b"PCI0\x08_HID"[..], id, b"\x08_UID\0", base, &resources(translation)].concat();
        let other = [
            &b"FWCF\x08_HID\x0dQEMU0002\0\x5b\x80EREG\0\x0c\0\0\xa0\xfe\x0a\x04"[..],
            &sized(b"\x5b\x81", b"EREG\x43ESEL\x20"),
            &sized(b"\x14", b"_EVT\x09\x70ESEL\x60"),
        ]
        .concat();
        let devices =
            [&b"\x2e_SB_LNKA"[..], &sized(b"\x5b\x82", &other), &sized(b"\x5b\x82", &bridge)].concat();
        [&b"\x08\\_S5_\x12\x07\x04\x0a\x05\0\0\0"[..], &sized(b"\x10", &devices)].concat()
    }

    const METHOD: &[u8] = b"\x14\x0c_CBA\0\xa4\x0c\0\0\0\xe0";
    const CONSTANT: &[u8] = b"\x08_CBA\x0e\0\0\0\0\x01\0\0\0";

    #[test]
    fn a_bridge_is_found_with_its_windows() {
        let windows = vec![0xc000_0000..0xe000_0000, 0xc0_0000_0000..0x100_0000_0000];
        for (id, base, ecam) in
            [(HOST_BRIDGE_TEXT, METHOD, 0xe000_0000), (HOST_BRIDGE_NUMBER, CONSTANT, 0x1_0000_0000)]
        {
            let bridge = host_bridge(&table(id, base, 0)).unwrap();
            let windows = Windows(windows.clone());
            assert_eq!(bridge, HostBridge { ecam, last_bus: u8::MAX, windows });
        }
        // Devices see the lower window elsewhere than CPUs do.
        let bridge = host_bridge(&table(HOST_BRIDGE_TEXT, METHOD, 1)).unwrap();
        assert_eq!(bridge.windows.0, [windows[1].clone()]);
    }

    #[test]
    fn other_devices_and_computed_places_are_none() {
        assert_eq!(host_bridge(&table(b"\x0dPNP0A03\0", METHOD, 0)), None);
        assert_eq!(host_bridge(&table(HOST_BRIDGE_TEXT, b"\x14\x08_CBA\0\xa4\x60", 0)), None);
        assert_eq!(host_bridge(&table(HOST_BRIDGE_TEXT, b"", 0)), None);
    }

    #[test]
    fn damaged_code_ends_the_walk() {
        let whole = table(HOST_BRIDGE_TEXT, METHOD, 0);
        for len in 0..whole.len() {
            assert_eq!(host_bridge(&whole[..len]), None, "{len}");
        }
        for at in 0..whole.len() {
            for value in [0, 0x11, 0x40, 0x7f, 0xc0, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let _ = host_bridge(&damaged);
            }
        }
    }
}
