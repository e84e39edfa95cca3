//! The power fails at every point of random workloads: the file system mounts, all that was synced is there byte for byte, the
//! rest is as it was after some operation, files show nothing that was never theirs, and e2fsck finds nothing.
//!
//! `CORACLE_EXT4_CRASHES` says how many workloads are tried at every point and not only at some: `make test-storage`.
mod common;
use common::model::{Content, Model, Operation, operation};
use common::*;
use coracle_block::simulated::{Loss, SimulatedDisk};
use coracle_ext4::{FileSystem, Options};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;
use std::sync::Arc;

const MIB: u64 = 1 << 20;
const LOSSES: [Loss; 4] = [Loss::All, Loss::None, Loss::Writes, Loss::Sectors];
/// Of so many crashed images e2fsck checks one.
const CHECK_EVERY: usize = 8;

/// What was done, and what each step left.
struct History {
    disk: Arc<SimulatedDisk>,
    /// After each operation: the events so far, and the model. The first is that before all of them.
    states: Vec<(usize, Model)>,
    /// The operations after which all was durable, and those after which a file was.
    commits: Vec<usize>,
    synced: BTreeMap<u32, Vec<usize>>,
    /// The operations that changed a file's content.
    touched: BTreeMap<u32, Vec<usize>>,
}

fn options() -> Options {
    // A small cache has checkpoints come often.
    Options { cache_blocks: 16, ..common::options() }
}

fn mount(disk: &Arc<SimulatedDisk>) -> FileSystem {
    FileSystem::mount(disk.clone(), &options()).unwrap()
}

/// So many random operations, the same for the same seed.
fn operations(seed: u8, count: usize) -> Vec<Operation> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let all = proptest::collection::vec(operation(60_000), count).new_tree(&mut runner).unwrap().current();
    let single = |operation| match operation {
        // Each of many files is an operation of its own.
        Operation::Crowd { directory, count } => vec![Operation::Crowd { directory, count: 1 }; count.into()],
        other => vec![other],
    };
    all.into_iter().flat_map(single).collect()
}

fn run(image: Vec<u8>, operations: &[Operation]) -> History {
    let disk = disk(image);
    disk.begin_log();
    let mut fs = mount(&disk);
    let mut model = Model::new(&mut fs);
    let mut history = History {
        disk: disk.clone(),
        states: vec![(disk.events(), model.clone())],
        commits: vec![0],
        synced: BTreeMap::new(),
        touched: BTreeMap::new(),
    };
    for (index, operation) in operations.iter().enumerate() {
        let step = index + 1;
        if let Operation::SyncFile { file } = operation
            && let Some(file) = model.file(*file)
        {
            history.synced.entry(file).or_default().push(step);
        }
        if let Some(file) = model.apply(&mut fs, operation) {
            history.touched.entry(file).or_default().push(step);
        }
        if matches!(operation, Operation::Commit) {
            history.commits.push(step);
        }
        history.states.push((disk.events(), model.clone()));
    }
    fs.unmount().unwrap();
    history
}

/// The last of some steps that is not after another.
fn last(steps: Option<&Vec<usize>>, until: usize) -> usize {
    steps.into_iter().flatten().copied().filter(|step| *step <= until).max().unwrap_or(0)
}

impl History {
    /// Checks what a crash after some events left.
    fn check(&self, events: usize, found: &Model, what: &str) {
        // The operations that had returned, and the one that was under way.
        let done = self.states.partition_point(|(at, _)| *at <= events).saturating_sub(1);
        let begun = (done + 1).min(self.states.len() - 1);
        let durable = last(Some(&self.commits), done);
        let is_settled = |inode: u32| {
            let safe = durable.max(last(self.synced.get(&inode), done));
            last(self.touched.get(&inode), begun) <= safe
        };
        let fits = |model: &Model| {
            model.nodes.len() == found.nodes.len()
                && model.nodes.iter().all(|(inode, node)| {
                    let Some(other) = found.nodes.get(inode) else { return false };
                    let same = match (&node.content, &other.content) {
                        (Content::File(expected), Content::File(bytes)) => {
                            !is_settled(*inode) || expected == bytes
                        }
                        (expected, content) => expected == content,
                    };
                    same && node.permissions == other.permissions && node.attributes == other.attributes
                })
        };
        let state = (durable..=begun).rev().find(|step| fits(&self.states[*step].1));
        if state.is_none() {
            println!("durable {durable}, done {done}, begun {begun}: {what}");
            self.states[durable].1.assert_equal(found);
            panic!("no operation left this: {what}");
        }
        for (inode, node) in &found.nodes {
            let Content::File(bytes) = &node.content else { continue };
            let versions: Vec<&Vec<u8>> = self.states[..=begun]
                .iter()
                .filter_map(|(_, model)| match &model.nodes.get(inode)?.content {
                    Content::File(bytes) => Some(bytes),
                    _ => None,
                })
                .collect();
            let strange = bytes.iter().enumerate().find(|(at, byte)| {
                **byte != 0 && !versions.iter().any(|version| version.get(*at) == Some(*byte))
            });
            assert_eq!(strange, None, "file {inode} shows what was never written to it: {what}");
        }
        // What fsync made durable is there, whatever is known about the rest.
        for (inode, steps) in &self.synced {
            let safe = last(Some(steps), done);
            let lives = |(_, model): &(usize, Model)| model.nodes.contains_key(inode);
            if safe > 0
                && self.states[safe..=begun].iter().all(lives)
                && last(self.touched.get(inode), begun) <= safe
            {
                let bytes = |model: &Model| model.nodes.get(inode).map(|node| node.content.clone());
                assert_eq!(bytes(found), bytes(&self.states[safe].1), "a synced file is lost: {what}");
            }
        }
    }

    /// The power fails after some events: everything is checked.
    fn crash(&self, events: usize, loss: Loss, seed: u64, with_e2fsck: bool) {
        let what = format!("events {events}, {loss:?}, seed {seed}");
        let crashed = self.disk.crashed_at(events, loss, seed);
        let disk = disk(crashed.clone());
        let mut fs =
            FileSystem::mount(disk.clone(), &options()).unwrap_or_else(|error| panic!("{error}: {what}"));
        let found = Model::read(&mut fs);
        self.check(events, &found, &what);
        if !with_e2fsck {
            return;
        }
        fs.unmount().unwrap();
        assert_eq!(e2fsck(&disk.bytes()), None, "{what}");
        if loss != Loss::Sectors {
            // Linux's own replay comes to the same.
            let mended = common::disk(e2fsck_indexing(&crashed));
            assert_eq!(e2fsck(&mended.bytes()), None, "{what}");
            let mut fs = FileSystem::mount(mended, &options()).unwrap();
            assert!(Model::read(&mut fs) == found, "e2fsck replays to another state: {what}");
        }
    }

    /// A crash in a mount after a crash: replaying is repeated.
    fn crash_twice(&self, events: usize, seed: u64) {
        let what = format!("events {events}, seed {seed}, twice");
        let disk = disk(self.disk.crashed_at(events, Loss::Sectors, seed));
        disk.begin_log();
        let mut fs = mount(&disk);
        fs.commit().unwrap();
        let found = Model::read(&mut fs);
        for second in 0..=disk.events() {
            let again = common::disk(disk.crashed_at(second, Loss::Sectors, seed));
            let mut fs = FileSystem::mount(again.clone(), &options())
                .unwrap_or_else(|error| panic!("{error}: {what} {second}"));
            assert!(Model::read(&mut fs) == found, "{what} {second}");
            fs.unmount().unwrap();
            if second.is_multiple_of(CHECK_EVERY) {
                assert_eq!(e2fsck(&again.bytes()), None, "{what} {second}");
            }
        }
    }
}

fn images() -> Vec<Vec<u8>> {
    let sets: [&[&str]; 3] = [
        &["-b", "1024", "-J", "size=1"],
        &["-b", "1024", "-J", "size=1", "-g", "1024", "-N", "256"],
        &["-b", "4096", "-O", "^metadata_csum,^64bit", "-N", "256"],
    ];
    sets.map(|set| mkfs(8 * MIB, set, None)).into()
}

#[test]
fn crashes_at_some_points() {
    for (number, image) in images().into_iter().enumerate() {
        let history = run(image, &operations(number as u8, 120));
        let events = history.disk.events();
        for (index, at) in (0..=events).step_by(events / 60 + 1).enumerate() {
            history.crash(at, LOSSES[(index + number) % LOSSES.len()], at as u64, index % CHECK_EVERY == 0);
        }
        history.crash_twice(events / 2, 1);
    }
}

#[test]
#[ignore = "takes minutes: make test-storage"]
fn crashes_at_every_point() {
    let workloads =
        std::env::var("CORACLE_EXT4_CRASHES").ok().and_then(|count| count.parse().ok()).unwrap_or(6);
    let images = images();
    let mut crashes = 0;
    for workload in 0..workloads {
        let history = run(images[workload % images.len()].clone(), &operations(10 + workload as u8, 250));
        for at in 0..=history.disk.events() {
            for (index, loss) in LOSSES.into_iter().enumerate() {
                crashes += 1;
                history.crash(at, loss, (at * 10 + index) as u64, crashes % CHECK_EVERY == 0);
            }
        }
        for at in (0..history.disk.events()).step_by(50) {
            history.crash_twice(at, at as u64);
        }
        println!("workload {workload}: {} events; {crashes} crashes so far", history.disk.events());
    }
}

/// A file is replaced as programs do that must not lose it: a new one, synced, renamed over the old.
#[test]
fn replacing_a_file_is_atomic() {
    let disk = disk(images().remove(0));
    let mut fs = mount(&disk);
    let version = |number: u8| vec![number; 3000 + 100 * usize::from(number)];
    let file = fs.create(coracle_ext4::ROOT, b"settings", &model::new_file(model::REGULAR), NOW).unwrap();
    fs.write(file, 0, &version(0), NOW).unwrap();
    fs.sync_file(file).unwrap();
    disk.begin_log();
    let mut ends = vec![0];
    for number in 1..20 {
        let new =
            fs.create(coracle_ext4::ROOT, b"settings.new", &model::new_file(model::REGULAR), NOW).unwrap();
        fs.write(new, 0, &version(number), NOW).unwrap();
        fs.sync_file(new).unwrap();
        let replaced =
            fs.rename((2, b"settings.new"), (2, b"settings"), coracle_ext4::Rename::Replace, NOW).unwrap();
        fs.evict(replaced.unwrap().0, NOW).unwrap();
        fs.commit().unwrap();
        ends.push(disk.events());
    }
    for at in 0..=disk.events() {
        for seed in 0..4 {
            let crashed = common::disk(disk.crashed_at(at, Loss::Sectors, seed));
            let mut fs = mount(&crashed);
            let file = fs.lookup(coracle_ext4::ROOT, b"settings").unwrap();
            let found = content(&mut fs, file);
            let done = ends.partition_point(|end| *end <= at) - 1;
            let right = [done, done + 1].map(|number| version(number as u8));
            assert!(right.contains(&found), "after {at} events, seed {seed}");
        }
    }
}

/// The log is emptied often, while the power fails at every point: what was committed stays.
#[test]
fn emptying_the_log_loses_nothing() {
    let disk = disk(images().remove(1));
    let mut fs = mount(&disk);
    disk.begin_log();
    let mut ends = vec![0];
    for number in 0..25_u8 {
        // Directories lie in many groups, so that many blocks change.
        let directory = [b'a' + number];
        let new = model::new_file(model::DIRECTORY);
        let parent = fs.create(coracle_ext4::ROOT, &directory, &new, NOW).unwrap();
        let file = fs.create(parent, b"file", &model::new_file(model::REGULAR), NOW).unwrap();
        fs.write(file, 0, &[number; 3000], NOW).unwrap();
        fs.commit().unwrap();
        ends.push(disk.events());
    }
    for at in 0..=disk.events() {
        for seed in 0..3 {
            let crashed = common::disk(disk.crashed_at(at, Loss::Sectors, seed));
            let mut fs = mount(&crashed);
            let done = ends.partition_point(|end| *end <= at) as u8 - 1;
            for number in 0..done {
                let file = find(&mut fs, &format!("{}/file", char::from(b'a' + number)));
                assert_eq!(content(&mut fs, file), [number; 3000], "after {at} events, seed {seed}");
            }
        }
    }
}

/// What is appended goes to the disk together with the journal's blocks that say so, into blocks that another file had: what was synced is there, and
/// never anything else.
#[test]
fn what_goes_with_the_journal_is_there() {
    for (number, image) in images().into_iter().enumerate() {
        let disk = disk(image);
        let mut fs = mount(&disk);
        let new = model::new_file(model::REGULAR);
        let other = fs.create(coracle_ext4::ROOT, b"other", &new, NOW).unwrap();
        fs.write(other, 0, &vec![0xee; 3 << 20], NOW).unwrap();
        let file = fs.create(coracle_ext4::ROOT, b"log", &new, NOW).unwrap();
        fs.write(file, 0, &[7; 100], NOW).unwrap();
        fs.unlink(coracle_ext4::ROOT, b"other", NOW).unwrap();
        fs.evict(other, NOW).unwrap();
        fs.commit().unwrap();
        disk.begin_log();
        let mut versions = vec![content(&mut fs, file)];
        let mut ends = vec![disk.events()];
        for step in 1..30_u8 {
            let more = vec![step; 1 + usize::from(step) * 331 % 6000];
            assert!(append_synced(&mut fs, &disk, file, &more, true).unwrap());
            versions.push([versions.last().unwrap(), &more[..]].concat());
            ends.push(disk.events());
        }
        for at in 0..=disk.events() {
            for loss in [LOSSES[(at + number) % LOSSES.len()], Loss::Sectors] {
                let crashed = common::disk(disk.crashed_at(at, loss, at as u64));
                let mut fs = mount(&crashed);
                let found = content(&mut fs, file);
                let what = format!("image {number}, after {at} events, {loss:?}");
                let done = ends.partition_point(|end| *end <= at) - 1;
                let next = versions.get(done + 1).unwrap_or(&versions[done]);
                // Where the blocks do not lie in a row, a first part may be there.
                assert!(found.starts_with(&versions[done]) && next.starts_with(&found), "{what}");
                if at.is_multiple_of(2 * CHECK_EVERY) {
                    fs.unmount().unwrap();
                    assert_eq!(e2fsck(&crashed.bytes()), None, "{what}");
                }
            }
        }
    }
}
