//! The simulated disk loses what it may lose, and nothing else.
use coracle_block::simulated::{Loss, SimulatedDisk};
use coracle_block::{Disk, Error};
use proptest::prelude::*;

const SECTOR: usize = 512;

fn written() -> SimulatedDisk {
    let disk = SimulatedDisk::new(vec![0; 8 * SECTOR], SECTOR as u32);
    disk.begin_log();
    disk.write(0, &[1; 2 * SECTOR]).unwrap();
    disk.flush().unwrap();
    disk.write(SECTOR as u64, &[2; 4 * SECTOR]).unwrap();
    disk.write(2 * SECTOR as u64, &[3; SECTOR]).unwrap();
    disk
}

#[test]
fn what_is_flushed_stays() {
    let disk = written();
    assert_eq!(disk.events(), 4);
    assert_eq!(disk.crashed_at(0, Loss::None, 1), vec![0; 8 * SECTOR]);
    let bytes = disk.crashed_at(4, Loss::All, 1);
    assert!(
        bytes[..2 * SECTOR].iter().all(|&byte| byte == 1)
            && bytes[2 * SECTOR..].iter().all(|&byte| byte == 0)
    );
    assert_eq!(disk.crashed_at(4, Loss::None, 1), disk.bytes());
}

#[test]
fn writes_are_torn_and_reordered() {
    let disk = written();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let bytes = disk.crashed_at(4, Loss::Sectors, seed);
        assert_eq!(bytes, disk.crashed_at(4, Loss::Sectors, seed));
        seen.insert((bytes[SECTOR], bytes[2 * SECTOR], bytes[4 * SECTOR]));
    }
    // The sector written twice: as before, the first, the second.
    for version in [0, 2, 3] {
        assert!(seen.iter().any(|states| states.1 == version), "{seen:?}");
    }
    assert!(seen.contains(&(1, 3, 2)) && seen.contains(&(2, 0, 0)));
}

#[test]
fn errors_are_injected() {
    let disk = written();
    disk.fail_after(Some(1));
    let mut sector = [0; SECTOR];
    assert_eq!(disk.read(0, &mut sector), Ok(()));
    assert_eq!(disk.read(0, &mut sector), Err(Error::Io));
    assert_eq!(disk.flush(), Err(Error::Io));
    disk.fail_after(None);
    assert_eq!(disk.flush(), Ok(()));
}

proptest! {
    #[test]
    fn ranges_are_checked(offset in any::<u64>(), len in 0usize..4 * SECTOR) {
        let disk = written();
        let right = offset.is_multiple_of(SECTOR as u64) && len.is_multiple_of(SECTOR)
            && offset.checked_add(len as u64).is_some_and(|end| end <= disk.size_bytes());
        prop_assert_eq!(disk.read(offset, &mut vec![0; len]).is_ok(), right);
        prop_assert_eq!(disk.write(offset, &vec![0; len]).is_ok(), right);
    }
}

#[test]
fn a_durable_write_stays_and_nothing_with_it() {
    let disk = written();
    disk.write_durable(SECTOR as u64, &[4; SECTOR]).unwrap();
    let bytes = disk.crashed_at(disk.events(), Loss::All, 1);
    let sectors: Vec<u8> = bytes.chunks(SECTOR).map(|sector| sector[0]).collect();
    assert_eq!(sectors, [1, 4, 0, 0, 0, 0, 0, 0]);
    // While it is under way it may be lost.
    assert_eq!(disk.crashed_at(disk.events() - 1, Loss::All, 1)[SECTOR], 1);
    for seed in 0..20 {
        assert_eq!(disk.crashed_at(disk.events(), Loss::Sectors, seed)[SECTOR], 4);
    }
}

#[test]
#[should_panic = "are being written"]
fn what_is_being_written_is_not_read() {
    let disk = written();
    disk.begin_write(0, &[5; 2 * SECTOR]).unwrap();
    disk.flush().unwrap();
    disk.read(0, &mut [0; SECTOR]).unwrap();
    disk.begin_write(0, &[6; 2 * SECTOR]).unwrap();
    let _ = disk.read(SECTOR as u64, &mut [0; SECTOR]);
}
