//! What goes in comes out, in lines or not.
use coracle_tty::{INPUT_MAX, LineDiscipline, Signal, Termios};
use proptest::prelude::*;

fn feed(tty: &mut LineDiscipline, bytes: &[u8]) -> Vec<u8> {
    let mut echoed = Vec::new();
    for byte in bytes {
        tty.input(*byte, |echo| echoed.extend_from_slice(echo));
    }
    echoed
}

fn read(tty: &mut LineDiscipline, max: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; max.min(tty.available())];
    let count = tty.read(&mut bytes)?;
    assert_eq!(count, bytes.len());
    Some(bytes)
}

fn drain(tty: &mut LineDiscipline, max: usize) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    while let Some(part) = read(tty, max) {
        if part.is_empty() {
            return (all, true);
        }
        all.extend(part);
    }
    (all, false)
}

proptest! {
    /// The way `coracle run` sends data: ^D and ^V are preceded by ^V, and a bare ^D ends it. Every byte arrives, and
    /// then the end of the file, however the reads are cut.
    #[test]
    fn data_passes_verbatim(data in prop::collection::vec(any::<u8>(), 0..10_000), max in 1usize..5000) {
        let mut tty = LineDiscipline::line();
        let mut got = Vec::new();
        for byte in &data {
            if matches!(byte, 0x04 | 0x16) { feed(&mut tty, &[0x16]); }
            prop_assert!(feed(&mut tty, &[*byte]).is_empty());
            if !tty.has_room() { got.extend(drain(&mut tty, max).0); }
        }
        if !data.is_empty() && data.last() != Some(&b'\n') { feed(&mut tty, &[0x04]); }
        feed(&mut tty, &[0x04]);
        let (rest, end) = drain(&mut tty, max);
        got.extend(rest);
        prop_assert_eq!(got, data);
        prop_assert!(end);
    }

    /// Any bytes in any mode: what is told to be available can be read.
    #[test]
    fn any_mode(modes in any::<[u32; 4]>(), characters in any::<[u8; 19]>(), data in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut tty = LineDiscipline::default();
        let [input, output, control, local] = modes;
        tty.set_termios(Termios { input, output, control, local, line: 0, characters });
        feed(&mut tty, &data);
        let available = tty.available();
        match read(&mut tty, usize::MAX) {
            Some(bytes) => prop_assert_eq!(bytes.len(), available),
            None => prop_assert_eq!(available, 0),
        }
    }

    #[test]
    fn termios_round_trip(bytes in any::<[u8; 32]>(), rest in any::<[u8; 4]>()) {
        let mut all = [0; 36];
        all[..32].copy_from_slice(&bytes);
        all[32..].copy_from_slice(&rest);
        prop_assert_eq!(Termios::decode(&all).encode(), all);
    }
}

#[test]
fn lines_come_one_at_a_time() {
    let mut tty = LineDiscipline::default();
    feed(&mut tty, b"one\ntwo\nthr");
    assert_eq!(tty.available(), 4);
    assert_eq!(read(&mut tty, 100).unwrap(), b"one\n");
    assert_eq!(read(&mut tty, 2).unwrap(), b"tw");
    assert_eq!(read(&mut tty, 100).unwrap(), b"o\n");
    assert!(!tty.readable());
    assert_eq!(read(&mut tty, 100), None);
    feed(&mut tty, &[0x04]);
    assert_eq!(read(&mut tty, 100).unwrap(), b"thr");
    feed(&mut tty, &[0x04]);
    assert_eq!(read(&mut tty, 100).unwrap(), b"");
}

#[test]
fn editing_echo_and_signals() {
    use linux_raw_sys::general::{ECHO, ECHOE, ISIG};
    let mut tty = LineDiscipline::default();
    let mut modes = tty.termios();
    modes.local |= ECHO | ECHOE | ISIG;
    modes.characters[0] = 3;
    modes.characters[2] = 0x7f;
    tty.set_termios(modes);
    assert_eq!(feed(&mut tty, b"ab\x7fc\n"), b"ab\x08 \x08c\n");
    assert_eq!(read(&mut tty, 10).unwrap(), b"ac\n");
    feed(&mut tty, b"gone");
    assert_eq!(tty.input(3, |_| ()), Some(Signal::Interrupt));
    feed(&mut tty, b"\n");
    assert_eq!(read(&mut tty, 10).unwrap(), b"\n");
}

#[test]
fn raw_mode_gives_bytes_at_once() {
    use linux_raw_sys::general::ICANON;
    let mut tty = LineDiscipline::default();
    feed(&mut tty, b"typed");
    let mut modes = tty.termios();
    modes.local &= !ICANON;
    tty.set_termios(modes);
    assert_eq!(read(&mut tty, 3).unwrap(), b"typ");
    feed(&mut tty, &[0x04]);
    assert_eq!(read(&mut tty, 10).unwrap(), b"ed\x04");
    assert_eq!(tty.wait(), Some((1, None)));
}

/// Who reads again at the end of a file is told so again, until more comes.
#[test]
fn the_end_of_file_stays() {
    let mut tty = LineDiscipline::line();
    feed(&mut tty, b"a\n\x04");
    assert_eq!(read(&mut tty, 9).as_deref(), Some(b"a\n".as_slice()));
    for _ in 0..2 {
        assert!(tty.readable());
        assert_eq!(read(&mut tty, 9).as_deref(), Some(b"".as_slice()));
    }
    feed(&mut tty, b"b");
    assert!(!tty.readable() && read(&mut tty, 9).is_none());
    feed(&mut tty, b"\n");
    assert_eq!(read(&mut tty, 9).as_deref(), Some(b"b\n".as_slice()));
    assert!(read(&mut tty, 9).is_none());
}

/// A person who typed the end of the file may go on typing.
#[test]
fn the_end_of_a_terminal_passes() {
    let mut tty = LineDiscipline::terminal();
    feed(&mut tty, &[0x04]);
    assert_eq!(read(&mut tty, 9).as_deref(), Some(b"".as_slice()));
    assert!(!tty.readable() && read(&mut tty, 9).is_none());
}

#[test]
fn a_terminal_shows_what_is_typed() {
    let mut tty = LineDiscipline::terminal();
    // Return is a line feed for the program, and both for the screen.
    assert_eq!(feed(&mut tty, b"a\tb\r"), b"a\tb\r\n");
    assert_eq!(read(&mut tty, 9).as_deref(), Some(b"a\tb\n".as_slice()));
    // A control character takes two columns, and an umlaut of two bytes one.
    assert_eq!(feed(&mut tty, "\x01\u{fc}".as_bytes()), "^A\u{fc}".as_bytes());
    assert_eq!(feed(&mut tty, b"\x7f\x7f\x7f"), b"\x08 \x08\x08 \x08\x08 \x08");
    assert_eq!(feed(&mut tty, b"one two\x17"), b"one two\x08 \x08\x08 \x08\x08 \x08");
    assert_eq!(feed(&mut tty, b"\x12"), b"^R\r\none ");
    let mut echoed = Vec::new();
    assert_eq!(tty.input(3, |echo| echoed.extend_from_slice(echo)), Some(Signal::Interrupt));
    assert_eq!(echoed, b"^C");
    assert_eq!(tty.input(0x1a, |_| ()), Some(Signal::Stop));
    assert_eq!(tty.input(0x1c, |_| ()), Some(Signal::Quit));
    // What was typed before is gone with it.
    feed(&mut tty, b"x\r");
    assert_eq!(read(&mut tty, 9).as_deref(), Some(b"x\n".as_slice()));
}

/// Neither a newline that fills the buffer nor an end of file among many is taken for two.
#[test]
fn full_lines_end_once() {
    let mut tty = LineDiscipline::terminal();
    let mut line = vec![b'a'; INPUT_MAX - 1];
    line.push(b'\n');
    feed(&mut tty, &line);
    assert!(!tty.has_room());
    assert_eq!(drain(&mut tty, usize::MAX), (line, false));
}

/// Ends of files take room, too: a sender of nothing else has to wait.
#[test]
fn ends_of_files_are_bounded() {
    let mut tty = LineDiscipline::terminal();
    let mut sent = 0;
    while tty.has_room() {
        feed(&mut tty, &[0x04]);
        sent += 1;
    }
    assert_eq!(sent, INPUT_MAX);
    assert_eq!(read(&mut tty, 1), Some(Vec::new()));
    assert!(tty.has_room());
}

/// A pseudo-terminal as Linux has it, with bytes that come one by one.
fn pseudo_terminal() -> LineDiscipline {
    LineDiscipline::pseudo_terminal().unwrap()
}

#[test]
fn tabs_are_erased_to_where_they_began() {
    let mut tty = pseudo_terminal();
    assert_eq!(feed(&mut tty, b"ab\tc\x7f\x7f"), b"ab\tc\x08 \x08\x08\x08\x08\x08\x08\x08");
    assert_eq!(feed(&mut tty, b"\x15"), b"\x08 \x08\x08 \x08");
}

#[test]
fn words_are_letters_digits_and_underscores() {
    let mut tty = pseudo_terminal();
    feed(&mut tty, b"one two-three_3  \x17\n");
    assert_eq!(read(&mut tty, 100).unwrap(), b"one two-\n");
}

#[test]
fn characters_stop_and_start_output() {
    let mut tty = pseudo_terminal();
    feed(&mut tty, b"\x13");
    assert!(tty.is_stopped());
    feed(&mut tty, b"\x11");
    assert!(!tty.is_stopped());
    feed(&mut tty, b"\x13\x03");
    assert!(!tty.is_stopped(), "a signal starts output again");
    assert_eq!(tty.waiting(), 0);
}

#[test]
fn room_is_never_exceeded() {
    let mut tty = pseudo_terminal();
    for mode in 0..4 {
        let mut count = 0;
        while tty.has_room() {
            feed(&mut tty, if mode % 2 == 0 { b"\n" } else { b"\x04" });
            count += 1;
        }
        assert!(count <= INPUT_MAX);
        tty.flush();
    }
    assert_eq!(feed(&mut tty, &[b'x'; 2 * INPUT_MAX]).len(), 2 * INPUT_MAX);
}

#[test]
fn output_is_processed() {
    let mut tty = pseudo_terminal();
    let mut out = Vec::new();
    for byte in b"a\tb\n" {
        tty.output(*byte, |bytes| out.extend_from_slice(bytes));
    }
    assert_eq!(out, b"a\tb\r\n");
}
