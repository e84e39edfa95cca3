//! What is left of large files and directories that are gone: their pages and entries, freed in steps.
//!
//! They go with the last reference, wherever that is dropped, and with any lock held. So a large one is put aside there, and
//! freed by the thread that dropped it, on its way back to the program: a call returns when the memory is free.
use super::content::Pages;
use super::directory::Contents;
use alloc::vec::Vec;
use coracle_core::lock::Mutex;
use coracle_core::task::long_call;
use coracle_core::task::thread::Work;
use coracle_core::this;
use coracle_fallible::prelude::*;

/// What was put aside.
enum Remains {
    File(Pages),
    Directory(Contents),
}

static REMAINS: Mutex<Vec<Remains>> = Mutex::new(Vec::new());

fn put_aside(remains: Remains) {
    let mut list = REMAINS.lock();
    if list.make_room(1).is_err() {
        // Freed here after all.
        drop(list);
        return drop(remains);
    }
    list.push_reserved(remains);
    drop(list);
    this::with(|me| me.work().set(Work::REMAINS));
}

/// Frees the pages of a file, now if they are few.
pub(super) fn free_pages(pages: Pages) {
    /// Pages that are freed at once.
    const FEW: u64 = 1024;
    if pages.len() > FEW {
        put_aside(Remains::File(pages));
    }
}

/// Frees the contents of a directory, now if they are few.
pub(super) fn free_contents(mut contents: Contents) {
    if !contents.take_down() {
        put_aside(Remains::Directory(contents));
    }
}

/// Frees what was put aside. Hold no lock.
#[cold]
pub fn free() {
    loop {
        // A statement of its own: the lock is let go at its end.
        let next = REMAINS.lock().pop();
        match next {
            Some(Remains::File(mut pages)) => {
                while pages.take().is_some() {
                    long_call::pause();
                }
            }
            Some(Remains::Directory(mut contents)) => {
                while !contents.take_down() {
                    long_call::pause();
                }
            }
            None => return,
        }
    }
}
