//! Laws of the load plan, the initial stack and scripts, over foreign bytes and over this machine's own programs.
use coracle_loader::*;
use proptest::prelude::*;

/// `e_machine` of the files that are tried.
const EM_X86_64: u16 = 62;

fn plan_of(file: &[u8]) -> Result<Plan, Error> {
    let header = Header::parse(file, EM_X86_64)?;
    let start = usize::try_from(header.program_headers).map_err(|_| Error::Truncated)?;
    let table = file.get(start..).ok_or(Error::Truncated)?;
    Plan::new(&header, table, file.len() as u64)
}

fn check(plan: &Plan, file_len: u64) {
    let mut end = 0;
    for s in &plan.segments {
        assert_eq!(s.address % PAGE_SIZE, 0);
        assert_eq!(s.offset % PAGE_SIZE, 0);
        assert!(s.address >= end, "pages are not shared");
        assert!(s.file_len <= s.memory_len);
        assert!(s.offset + s.file_len <= file_len || s.file_len == 0);
        assert!(s.end() <= 0x7fff_ffff_f000);
        end = s.end();
    }
    assert!(plan.align.is_power_of_two() && plan.align >= PAGE_SIZE);
    assert_eq!(plan.span().end, end);
}

#[test]
fn plans_real_programs() {
    for (path, relocatable, interpreted) in
        [(std::env::current_exe().unwrap(), true, true), ("/bin/sh".into(), true, true)]
    {
        let Ok(file) = std::fs::read(&path) else { continue };
        let plan = plan_of(&file).unwrap();
        check(&plan, file.len() as u64);
        assert_eq!(plan.relocatable, relocatable);
        assert_eq!(plan.interpreter.is_some(), interpreted);
        assert!(plan.program_headers.is_some());
        assert!(!plan.executable_stack);
    }
}

#[test]
fn finds_a_function_of_this_program() {
    let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let header = Header::parse(&file, EM_X86_64).unwrap();
    let range = SectionTable::range(&header).unwrap();
    let mut sections = SectionTable::symbol_sections(&file[range.start as usize..range.end as usize]);
    let section = sections.next().unwrap();
    let symbols = &file[section.symbols.start as usize..section.symbols.end as usize];
    let (name, start) = best_symbol(symbols, header.entry).unwrap();
    let names = &file[section.names.start as usize..section.names.end as usize];
    let name: Vec<u8> = names[name as usize..].iter().copied().take_while(|&b| b != 0).collect();
    assert_eq!((name.as_slice(), start), (b"_start".as_slice(), header.entry));
}

#[test]
fn says_what_is_wrong() {
    assert_eq!(plan_of(b"#!/bin/sh"), Err(Error::NotElf));
    assert_eq!(plan_of(b"\x7fELF"), Err(Error::Truncated));
    let mut file = std::fs::read("/bin/sh").unwrap();
    file[18] = 183;
    assert_eq!(plan_of(&file), Err(Error::OtherMachine(183)));
}

#[test]
fn reads_scripts() {
    let script = |text: &'static str| parse_script(text.as_bytes());
    let some = |i: &'static str, a: Option<&'static str>| {
        Some(Script { interpreter: i.as_bytes(), argument: a.map(str::as_bytes) })
    };
    assert_eq!(script("#!/bin/sh\n"), some("/bin/sh", None));
    assert_eq!(script("#! /usr/bin/env  python3 -u \nx"), some("/usr/bin/env", Some("python3 -u")));
    assert_eq!(script("#!/bin/sh"), some("/bin/sh", None));
    assert_eq!(script("#!  \n"), None);
    assert_eq!(script("#!"), some("", None));
    assert_eq!(script("#!  "), some("", None));
    assert_eq!(script("x"), None);
    assert_eq!(parse_script(format!("#!/{}", "a".repeat(300)).as_bytes()), None);
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), address: u64) {
        let _ = plan_of(&bytes);
        let _ = parse_script(&bytes);
        SectionTable::symbol_sections(&bytes).for_each(drop);
        let _ = best_symbol(&bytes, address);
    }

    #[test]
    fn damaged_headers_never_give_a_bad_plan(damage in proptest::collection::vec((0usize..800, any::<u8>()), 1..6)) {
        let mut file = std::fs::read("/bin/sh").unwrap();
        for (at, value) in damage { file[at] = value; }
        if let Ok(plan) = plan_of(&file) { check(&plan, file.len() as u64); }
    }

    #[test]
    fn the_stack_says_what_it_was_given(
        arguments in proptest::collection::vec(proptest::collection::vec(1u8.., 0..20), 0..8),
        environment in proptest::collection::vec(proptest::collection::vec(1u8.., 0..20), 0..8),
        auxiliary in proptest::collection::vec((40u64..50, any::<u64>()), 0..6),
        top in (1u64 << 20..1 << 40).prop_map(|top| top & !7),
    ) {
        let random = [7; 16];
        let strings = |list: &[Vec<u8>]| {
            let mut strings = Strings::new();
            list.iter().for_each(|string| strings.push(string).unwrap());
            strings
        };
        let (given, variables) = (strings(&arguments), strings(&environment));
        let stack = InitialStack { arguments: &given, environment: &variables, auxiliary: &auxiliary, path: b"/p", platform: b"x86_64", random };
        let laid = stack.build(top, 1 << 20).unwrap();
        let (sp, whole) = (laid.sp, &laid.auxiliary);
        prop_assert_eq!(sp % 16, 0);
        let mut bytes = vec![0; (top - sp) as usize];
        bytes[..laid.words.len()].copy_from_slice(&laid.words);
        for (at, part) in laid.parts {
            prop_assert!(at >= sp + laid.words.len() as u64 && at + part.len() as u64 <= top - 8);
            bytes[(at - sp) as usize..][..part.len()].copy_from_slice(part);
        }
        let word = |at: u64| u64::from_le_bytes(bytes[(at - sp) as usize..][..8].try_into().unwrap());
        let text = |at: u64| bytes[(at - sp) as usize..].iter().copied().take_while(|&b| b != 0).collect::<Vec<u8>>();
        let mut at = sp;
        let mut next = || { at += 8; word(at - 8) };
        prop_assert_eq!(next(), arguments.len() as u64);
        for argument in &arguments { prop_assert_eq!(&text(next()), argument); }
        prop_assert_eq!(next(), 0);
        for variable in &environment { prop_assert_eq!(&text(next()), variable); }
        prop_assert_eq!(next(), 0);
        for pair in whole {
            prop_assert_eq!((next(), next()), *pair);
            match pair.0 {
                31 => prop_assert_eq!(text(pair.1), b"/p"),
                15 => prop_assert_eq!(text(pair.1), b"x86_64"),
                25 => prop_assert_eq!(&bytes[(pair.1 - sp) as usize..][..16], &random),
                _ => {}
            }
        }
        prop_assert_eq!(whole.last(), Some(&(0, 0)));
        prop_assert_eq!(stack.build(top, 16).unwrap_err(), StackError::TooLarge);
    }
}
