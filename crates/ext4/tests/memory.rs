//! Memory runs out at any point: operations fail, nothing is half done, and a commit can be tried again.
mod common;
use common::model::{self, Model, operation};
use common::*;
use coracle_block::simulated::SimulatedDisk;
use coracle_block::{Disk, Error as DiskError};
use coracle_ext4::{Access, Allocation, Changes, Error, Existence, FileSystem, Options, ROOT, Rename};
use proptest::prelude::*;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const MIB: u64 = 1 << 20;
/// Bytes of a block of the volumes that operations are tried on.
const BLOCK: u64 = 1024;

/// Whether memory is low is known to the whole process: one test at a time.
static ONE: Mutex<()> = Mutex::new(());

/// A disk during whose so manieth operation memory becomes low.
struct Starving {
    disk: Arc<SimulatedDisk>,
    left: AtomicI64,
}

impl Starving {
    fn count(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            coracle_fallible::set_low(true);
        }
    }
}

impl Disk for Starving {
    fn sector_bytes(&self) -> u32 {
        self.disk.sector_bytes()
    }
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }
    fn read_only(&self) -> bool {
        false
    }
    fn read(&self, offset_bytes: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.count();
        self.disk.read(offset_bytes, into)
    }
    fn write(&self, offset_bytes: u64, from: &[u8]) -> Result<(), DiskError> {
        self.count();
        self.disk.write(offset_bytes, from)
    }
    fn flush(&self) -> Result<(), DiskError> {
        self.count();
        self.disk.flush()
    }
    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> Result<(), DiskError> {
        self.disk.discard(offset_bytes, len_bytes)
    }
}

/// Operations that are one change each: they are done or not. The names count up.
fn single(fs: &mut FileSystem, file: u32, kind: u8, number: usize) -> Result<(), Error> {
    let name = format!("a name of some length, so that directories are split: {number}").into_bytes();
    match kind % 9 {
        0 => fs.create(ROOT, &name, &model::new_file(model::REGULAR), NOW).map(drop),
        1 => fs.create(ROOT, &name, &model::new_file(model::DIRECTORY), NOW).map(drop),
        2 => fs.symlink(ROOT, &name, &[b'x'; 200], &model::new_file(0), NOW).map(drop),
        3 => fs.link(ROOT, &name, file, NOW),
        4 => fs.set_xattr(file, b"user.x", &[1; 300], Existence::Either, NOW),
        5 => fs.rename((ROOT, b"first"), (ROOT, &name), Rename::Replace, NOW).and_then(|_| {
            // Back again, whatever memory says.
            coracle_fallible::set_low(false);
            fs.rename((ROOT, &name), (ROOT, b"first"), Rename::Replace, NOW).map(drop)
        }),
        6 => fs.set_attributes(
            file,
            &Changes { permissions: Some(number as u16 & 0o777), ..Changes::default() },
        ),
        7 => fs.write(file, number as u64 * 5000, &[1], NOW).map(drop),
        // One block, which is one step: of several, a failure may leave some done.
        _ => fs.allocate(file, number as u64 * 3 * BLOCK, BLOCK, Allocation::PunchHole, NOW),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 25, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn operations_fail_as_a_whole(steps in proptest::collection::vec((any::<u8>(), -4i64..12), 20..120)) {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let simulated = disk(mkfs(8 * MIB, &["-b", "1024", "-J", "size=1"], None));
        let starving = Arc::new(Starving { disk: simulated.clone(), left: AtomicI64::new(0) });
        // So small a cache reads most blocks anew.
        let options = Options { cache_blocks: 16, ..options() };
        let mut fs = FileSystem::mount(starving.clone(), &options).unwrap();
        let file = fs.create(ROOT, b"first", &model::new_file(model::REGULAR), NOW).unwrap();
        for (number, (kind, after)) in steps.iter().enumerate() {
            let before = Model::read(&mut fs);
            // Low from the beginning, or from some operation of the disk on.
            coracle_fallible::set_low(*after <= -3);
            starving.left.store(*after, Ordering::Relaxed);
            let result = single(&mut fs, file, *kind, number);
            let committed = if kind & 16 != 0 { fs.commit() } else { Ok(()) };
            coracle_fallible::set_low(false);
            starving.left.store(0, Ordering::Relaxed);
            prop_assert!(matches!(committed, Ok(()) | Err(Error::NoMemory)), "{committed:?}");
            prop_assert_eq!(fs.access(), Access::Writable);
            match result {
                Ok(()) => {}
                Err(Error::NoMemory) => before.assert_equal(&Model::read(&mut fs)),
                Err(error) => panic!("{error}"),
            }
        }
        let found = Model::read(&mut fs);
        fs.unmount().unwrap();
        prop_assert_eq!(e2fsck(&simulated.bytes()), None);
        found.assert_equal(&Model::read(&mut mount(&simulated)));
    }

    /// Mounting needs memory as well, also to replay a journal.
    #[test]
    fn mounts_fail_as_a_whole(after in 1i64..60, operations in proptest::collection::vec(operation(50_000), 30)) {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let simulated = disk(mkfs(8 * MIB, &["-b", "1024", "-J", "size=1"], None));
        let mut fs = mount(&simulated);
        let mut model = Model::new(&mut fs);
        for operation in &operations {
            model.apply(&mut fs, operation);
        }
        fs.commit().unwrap();
        drop(fs);
        let starving = Arc::new(Starving { disk: simulated.clone(), left: AtomicI64::new(after) });
        let result = FileSystem::mount(starving, &options()).map(drop);
        coracle_fallible::set_low(false);
        prop_assert!(matches!(result, Ok(()) | Err(Error::NoMemory)), "{result:?}");
        let mut fs = mount(&simulated);
        model.assert_equal(&Model::read(&mut fs));
        fs.unmount().unwrap();
        prop_assert_eq!(e2fsck(&simulated.bytes()), None);
    }
}

#[test]
fn lack_of_memory_is_reported() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let disk = disk(mkfs(8 * MIB, &[], None));
    coracle_fallible::set_low(true);
    let refused = FileSystem::mount(disk.clone(), &options()).err();
    coracle_fallible::set_low(false);
    let mut fs = mount(&disk);
    coracle_fallible::set_low(true);
    let created = fs.create(ROOT, b"name", &model::new_file(model::REGULAR), NOW);
    coracle_fallible::set_low(false);
    assert_eq!((refused, created), (Some(Error::NoMemory), Err(Error::NoMemory)));
    assert_eq!(fs.lookup(ROOT, b"name"), Err(Error::NotFound));
    assert!(fs.create(ROOT, b"name", &model::new_file(model::REGULAR), NOW).is_ok());
}
