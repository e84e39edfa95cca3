//! Plans whatever the bytes describe, as the kernel would, and holds the plan to what the kernel relies on.
#![no_main]

use coracle_loader::{Header, PAGE_SIZE, Plan, SectionTable, best_symbol, parse_script};
use libfuzzer_sys::fuzz_target;

/// The program's half of the address space ends here.
const USER_END: u64 = 0x7fff_ffff_f000;

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_script(bytes);
    let Ok(header) = Header::parse(bytes, 62) else { return };
    let part =
        |start: u64| usize::try_from(start).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
    if let Ok(plan) = Plan::new(&header, part(header.program_headers), bytes.len() as u64) {
        let mut end = 0;
        for segment in &plan.segments {
            assert!(segment.address >= end && segment.address % PAGE_SIZE == 0, "pages are not shared");
            assert!(segment.end() <= USER_END, "it lies in the program's half");
            end = segment.end();
        }
    }
    if let Some(range) = SectionTable::range(&header) {
        for section in SectionTable::symbol_sections(part(range.start)) {
            let _ = best_symbol(part(section.symbols.start), header.entry);
        }
    }
});
