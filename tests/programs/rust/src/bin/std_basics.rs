//! Rust's std: arguments, files, collections, time, formatting, panics that are caught.
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, panic, thread};

fn main() -> std::io::Result<()> {
    println!("{} arguments", env::args().count());
    let directory = env::temp_dir().join("coracle-rust-std");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(directory.join("a/b/c"))?;
    let path = directory.join("a/file");
    let mut file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    for i in 0..100 {
        writeln!(file, "line {i}")?;
    }
    file.seek(SeekFrom::Start(0))?;
    println!("{} lines", BufReader::new(&file).lines().count());
    println!("{} bytes", fs::metadata(&path)?.len());
    fs::copy(&path, directory.join("copy"))?;
    fs::rename(directory.join("copy"), directory.join("moved"))?;
    let mut names: Vec<_> = fs::read_dir(&directory)?.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    println!("{names:?}");
    let mut text = String::new();
    fs::File::open(directory.join("moved"))?.take(13).read_to_string(&mut text)?;
    println!("{text:?}");
    println!("{:?}", fs::read("/nowhere").unwrap_err().kind());
    fs::remove_dir_all(&directory)?;
    println!("gone: {}", !directory.exists());
    let counts: HashMap<char, usize> = "hello world".chars().fold(HashMap::new(), |mut m, c| {
        *m.entry(c).or_default() += 1;
        m
    });
    println!("{:?}", counts.into_iter().collect::<BTreeMap<_, _>>());
    let start = Instant::now();
    thread::sleep(Duration::from_millis(20));
    println!("slept: {}", start.elapsed() >= Duration::from_millis(20));
    println!("after 2023: {}", SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() > 1_700_000_000);
    panic::set_hook(Box::new(|info| println!("hook: {}", info.payload().downcast_ref::<&str>().unwrap())));
    println!("caught: {}", panic::catch_unwind(|| panic!("on purpose")).is_err());
    println!("thread panicked: {}", thread::spawn(|| panic!("in a thread")).join().is_err());
    std::process::exit(23)
}
