//! Turns system-call instructions into plain jumps, in unikernel mode, where that is proven to be safe.
//!
//! A site is the pair `mov $number,%eax; syscall` (5 and 2 bytes). Only the `mov` is replaced, by a `jmp` of the same
//! length to a stub of the site, so that code which jumps straight at the `syscall` still finds it, and the interrupted call
//! can be started again there. The stub loads the return address and the number and jumps to the kernel's entry; nothing is pushed,
//! because leaf functions keep data below the stack pointer.
//!
//! The bytes alone don't prove that an instruction begins with them. So a hot candidate first gets an instruction
//! breakpoint, which fires only if one does; then the page is replaced by a patched private copy: every CPU sees
//! the old code or the new, never a mixture.
use super::memory::{Memory, PAGE_SIZE, page_down};
use super::vma::{Backing, Vma, VmaFlags};
use crate::task::thread::Thread;
use alloc::vec::Vec;
use coracle_hal::breakpoint;
use coracle_hal::context::UserContext;
use coracle_hal::frame::Frame;
use coracle_hal::paging::Prot;
use coracle_hal::percpu::PerCpu;
use coracle_hal::task::{Ring, patched_syscall_entry, ring};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use spin::Mutex;

/// Every so many unpatched system calls of a CPU, the caller is looked at: hot sites are found soon, and the check
/// costs the others next to nothing.
const SAMPLE_EVERY: u32 = 16;
/// Bytes of `mov $imm32,%eax` and of `jmp rel32`.
const MOV_LEN: usize = 5;
/// Bytes of `syscall`.
const SYSCALL_LEN: usize = 2;
/// Bytes set aside for a stub.
const STUB_LEN: usize = 24;
/// Stubs lie this near to their sites at most: a 32-bit distance reaches 2 GiB.
const REACH: usize = 1 << 30;

/// Stubs of an address space, and sites that are not to be tried again.
#[derive(Default)]
pub struct Patches {
    areas: Vec<StubArea>,
    refused: Vec<usize>,
}

/// A page of stubs: the address of the kernel's entry, then stubs.
struct StubArea {
    base: usize,
    used: usize,
    frame: Frame,
}

static ENABLED: AtomicBool = AtomicBool::new(true);
static CALLS: PerCpu<AtomicU32> = PerCpu::new(|_| AtomicU32::new(0));
/// The site this CPU's breakpoint waits at; 0: none.
static WAITING: PerCpu<Mutex<usize>> = PerCpu::new(|_| Mutex::new(0));

/// Turns patching off (`patch=off`).
pub fn disable() {
    ENABLED.store(false, Relaxed);
}

/// Called for each system call that came by the instruction: now and then considers its site.
#[inline]
pub fn sample(thread: &Thread, context: &UserContext) {
    let calls = CALLS.get();
    let count = calls.load(Relaxed).wrapping_add(1);
    calls.store(count, Relaxed);
    if count % SAMPLE_EVERY == 0 {
        consider(thread, context);
    }
}

/// Sets the breakpoint if the call came from what looks like a site.
#[cold]
fn consider(thread: &Thread, context: &UserContext) {
    if ring() != Ring::Unikernel || !ENABLED.load(Relaxed) {
        return;
    }
    let after = context.rip as usize;
    let Some(site) = after.checked_sub(MOV_LEN + SYSCALL_LEN) else { return };
    // One byte before the site, too: a prefix would make it another instruction.
    let mut bytes = [0; 1 + MOV_LEN + SYSCALL_LEN];
    if site % PAGE_SIZE == 0 || coracle_hal::user::copy_from(&mut bytes, site - 1).is_err() {
        return;
    }
    if !looks_like_site(&bytes, context.orig_rax) || page_down(site) != page_down(site + MOV_LEN - 1) {
        return;
    }
    if thread.process.memory().patches.lock().refused.contains(&site) {
        return;
    }
    *WAITING.get().lock() = site;
    breakpoint::arm(site);
}

/// True for `mov $number,%eax; syscall` without a prefix before it.
fn looks_like_site(bytes: &[u8; 1 + MOV_LEN + SYSCALL_LEN], number: u64) -> bool {
    const MOV_EAX: u8 = 0xb8;
    const REX: core::ops::RangeInclusive<u8> = 0x40..=0x4f;
    const OPERAND_SIZE: u8 = 0x66;
    let [before, mov, n0, n1, n2, n3, s0, s1] = *bytes;
    mov == MOV_EAX
        && u64::from(u32::from_le_bytes([n0, n1, n2, n3])) == number
        && [s0, s1] == [0x0f, 0x05]
        && !REX.contains(&before)
        && before != OPERAND_SIZE
}

/// A debug exception of the program: gives true if it was our breakpoint, after patching the site.
pub fn confirmed(thread: &Thread, context: &UserContext) -> bool {
    let site = core::mem::take(&mut *WAITING.get().lock());
    if !breakpoint::disarm() || site == 0 || context.rip as usize != site {
        return false;
    }
    let memory = thread.process.memory();
    if memory.patch_site(site).is_none() {
        memory.patches.lock().refused.push(site);
    }
    true
}

impl Memory {
    /// Makes the site jump to a new stub. `None`: it can't be (no room near, no memory, changed meanwhile).
    fn patch_site(&self, site: usize) -> Option<()> {
        let mut original = [0; 1 + MOV_LEN + SYSCALL_LEN];
        coracle_hal::user::copy_from(&mut original, site - 1).ok()?;
        let number = u32::from_le_bytes(original[2..6].try_into().ok()?);
        if !looks_like_site(&original, u64::from(number)) {
            return None;
        }
        let stub = self.new_stub(site, number)?;
        let mut jump = [0xe9; MOV_LEN];
        jump[1..].copy_from_slice(&distance(site + MOV_LEN, stub)?.to_le_bytes());
        self.replace_code(site, &jump)
    }

    fn new_stub(&self, site: usize, number: u32) -> Option<usize> {
        let mut patches = self.patches.lock();
        let near = |area: &StubArea| area.base.abs_diff(site) < REACH && area.used + STUB_LEN <= PAGE_SIZE;
        let index = match patches.areas.iter().position(near) {
            Some(index) => index,
            None => {
                let area = self.new_stub_area(site)?;
                patches.areas.push(area);
                patches.areas.len() - 1
            }
        };
        let area = &mut patches.areas[index];
        let stub = area.base + area.used;
        let mut code = [0xcc; STUB_LEN];
        // lea return_address(%rip),%rcx
        code[..3].copy_from_slice(&[0x48, 0x8d, 0x0d]);
        code[3..7].copy_from_slice(&distance(stub + 7, site + MOV_LEN + SYSCALL_LEN)?.to_le_bytes());
        // mov $number,%eax
        code[7] = 0xb8;
        code[8..12].copy_from_slice(&number.to_le_bytes());
        // jmp *entry(%rip): the page begins with the entry's address
        code[12..14].copy_from_slice(&[0xff, 0x25]);
        code[14..18].copy_from_slice(&distance(stub + 18, area.base)?.to_le_bytes());
        area.frame.write(area.used, &code);
        area.used += STUB_LEN;
        Some(stub)
    }

    fn new_stub_area(&self, site: usize) -> Option<StubArea> {
        let frame = Frame::alloc_zeroed()?;
        frame.write(0, &patched_syscall_entry().to_le_bytes());
        let mut layout = self.layout.lock();
        let base = layout
            .regions
            .highest_gap(site.saturating_sub(REACH).max(coracle_hal::paging::USER_START)..site, PAGE_SIZE, PAGE_SIZE)?;
        self.space.map(base, frame.clone(), Prot::READ | Prot::EXEC).ok()?;
        let vma = Vma {
            prot: Prot::READ | Prot::EXEC,
            flags: VmaFlags::empty(),
            backing: Backing::Placed,
            label: "[syscalls]",
        };
        layout.regions.insert(base..base + PAGE_SIZE, vma);
        layout.changed();
        Some(StubArea { base, used: STUB_LEN, frame })
    }

    /// Puts a private copy with `bytes` at `addr` in place of the page of code there.
    fn replace_code(&self, addr: usize, bytes: &[u8]) -> Option<()> {
        let page = page_down(addr);
        let flush = {
            let layout = self.layout.lock();
            let (_, vma) = layout.regions.find(addr)?;
            if vma.shared() || vma.prot != Prot::READ | Prot::EXEC {
                return None;
            }
            let old = self.space.query(page)?;
            let copy = Frame::alloc()?;
            copy.copy_from(&old.frame);
            copy.write(addr - page, bytes);
            self.space.replace(page, copy, vma.prot).ok()?
        };
        // The shoot-down waits for other CPUs: with no lock held.
        drop(flush);
        Some(())
    }
}

/// `to - from` if 32 bits hold it.
fn distance(from: usize, to: usize) -> Option<i32> {
    i32::try_from(to.wrapping_sub(from) as isize).ok()
}
