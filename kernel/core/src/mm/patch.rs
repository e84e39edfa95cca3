//! System calls as plain calls (unikernel mode).
//!
//! C libraries make a system call by `mov $number, %eax; syscall`. The 5-byte `mov` of a site that is used again is
//! replaced by a 5-byte jump to a stub nearby, which loads the return address and the number and jumps to the kernel's
//! entry: no `syscall`, no change of flags, nothing pushed on the program's stack (it has a red zone). The `syscall`
//! instruction stays where it was: code that jumps straight to it, and a call that is started again, still work.
//!
//! Bytes that look like a `mov` may be the end of a longer instruction. So the first use of a site only sets a breakpoint
//! to where the `mov` would begin; if the CPU comes to an instruction that begins there, it is one, and is replaced.
//!
//! The changed page is a private copy that takes the old one's place in one store to the page table, so another CPU
//! executes either the old instruction or the new one. (zpoline and gVisor's systrap rewrite the two bytes of `syscall`
//! itself; the `mov` has room for a jump to anywhere near.)
use super::memory::{Memory, PAGE_SIZE, page_down};
use super::vma::{Backing, Vma, VmaFlags};
use crate::arch::registers;
use crate::lock::Mutex;
use crate::task::thread::Thread;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_hal::call::Call;
use coracle_hal::context::UserContext;
use coracle_hal::frame::Frame;
use coracle_hal::paging::{Prot, USER_START};
use coracle_hal::percpu::PerCpu;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use coracle_hal::{breakpoint, task, user};

/// `mov $imm32, %eax`, and its length.
const MOV_EAX: u8 = 0xb8;
const MOV_LEN: usize = 5;
/// `syscall`.
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// Bytes of both.
const SITE_LEN: usize = MOV_LEN + SYSCALL.len();
/// `jmp rel32`.
const JMP_REL32: u8 = 0xe9;
/// Bytes from one stub to the next.
const STUB_SIZE: usize = 32;
/// A page of stubs begins with the address that they jump to.
const FIRST_STUB: usize = STUB_SIZE;
/// How far a page of stubs may lie from a site: well within the reach of a 32-bit displacement.
const REACH: usize = 1 << 30;
/// Bits of an address of a program; those above are free.
const ADDRESS_BITS: u32 = 47;
/// Sites that can't be patched and are remembered, so that they cost no second look. Power of two.
const KNOWN_SITES: usize = 256;

static ENABLED: AtomicBool = AtomicBool::new(true);
/// Sites to be left alone, by hash: the return address with the memory's id in the bits that addresses don't use.
static LEFT_ALONE: [AtomicU64; KNOWN_SITES] = [const { AtomicU64::new(0) }; KNOWN_SITES];

/// Turns patching on or off (`patch=off` on the command line).
pub fn configure(enabled: bool) {
    ENABLED.store(enabled, Relaxed);
}

/// What was patched in a memory. A forked child has its parent's pages, and makes stubs of its own for what it patches.
#[derive(Default)]
pub(super) struct Patches {
    pages: Mutex<Vec<StubPage>>,
}

struct StubPage {
    address: usize,
    frame: Frame,
    used: usize,
}

/// A site whose `mov` a CPU's breakpoint waits for.
struct Candidate {
    memory: u64,
    after: usize,
    /// Calls by other instructions, or by this one without its `mov`, since.
    waited: u32,
}

/// Calls for which a breakpoint may wait. It has to stand while the program goes through the other sites of a loop.
const PATIENCE: u32 = 16;

static CANDIDATES: PerCpu<Mutex<Option<Candidate>>> = PerCpu::new(|_| Mutex::new(None));

/// Where the site that returns to `after` is remembered, and as what.
fn remembered(memory: u64, after: usize) -> (&'static AtomicU64, u64) {
    (&LEFT_ALONE[(after ^ after >> 8) % KNOWN_SITES], after as u64 ^ memory << ADDRESS_BITS)
}

/// The thread makes a system call by a `syscall` instruction: considers to make its site a call. True if that is settled.
pub fn consider(call: &Call<Thread>) -> bool {
    let memory = call.thread().process.memory_id();
    let after = call.return_address();
    let (known, site) = remembered(memory, after);
    if known.load(Relaxed) == site {
        return true;
    }
    let number = immediate(after).filter(|&number| ENABLED.load(Relaxed) && number as usize == call.number());
    if number.is_none() {
        known.store(site, Relaxed);
        return true;
    }
    let mut candidate = CANDIDATES.get().lock();
    match &mut *candidate {
        Some(other) if other.waited < PATIENCE => other.waited += 1,
        // Its `mov` is never executed, or on other CPUs only.
        Some(same) if same.after == after && same.memory == memory => {
            breakpoint::disarm();
            *candidate = None;
            known.store(site, Relaxed);
        }
        _ => {
            *candidate = Some(Candidate { memory, after, waited: 0 });
            breakpoint::arm(after - SITE_LEN);
        }
    }
    false
}

/// A debug exception at `ip`: if it comes from a breakpoint of this file the `mov` there is replaced, and it is true.
pub fn reached(thread: &Thread, ip: usize) -> bool {
    let Some(candidate) = CANDIDATES.get().lock().take() else { return false };
    if !breakpoint::disarm() {
        return false;
    }
    let process = &thread.process;
    let Candidate { memory, after, .. } = candidate;
    if after == ip + SITE_LEN && memory == process.memory_id() && patch(&process.memory(), after).is_none() {
        let (known, site) = remembered(memory, after);
        known.store(site, Relaxed);
    }
    true
}

/// A debugger has the program make a step that begins with the jump of a patched site: makes the step that the `mov` there was
/// before it was replaced, and returns true.
pub fn step(memory: &Memory, context: &mut UserContext) -> bool {
    let ip = registers::pc(context);
    let Some(number) = replaced_number(memory, ip) else { return false };
    registers::set_result(context, number.into());
    registers::set_pc(context, (ip + MOV_LEN) as u64);
    true
}

/// The number that the `mov` at `site` had, if it was replaced.
fn replaced_number(memory: &Memory, site: usize) -> Option<u32> {
    let mut jump = [0; MOV_LEN];
    memory.read(site, &mut jump).ok()?;
    let [JMP_REL32, displacement @ ..] = jump else { return None };
    let stub = (site + MOV_LEN).wrapping_add_signed(i32::from_le_bytes(displacement) as isize);
    let is_stub = memory.patches.pages.lock().iter().any(|stubs| page_down(stub) == stubs.address);
    let mut code = [0; STUB_SIZE];
    memory.read(stub, &mut code).ok()?;
    let number = [code[8], code[9], code[10], code[11]];
    is_stub.then_some(u32::from_le_bytes(number))
}

/// The memory of this id is gone: this CPU's breakpoint need not wait for one of its sites any more. (Another CPU's is
/// taken away when that CPU has waited long enough; if it is hit before, in another memory, the program doesn't notice.)
fn forget(memory: u64) {
    let mut candidate = CANDIDATES.get().lock();
    if candidate.as_ref().is_some_and(|candidate| candidate.memory == memory) {
        breakpoint::disarm();
        *candidate = None;
    }
}

/// The number in the `mov` before the `syscall` that returns to `after`, if there is one.
fn immediate(after: usize) -> Option<u32> {
    let mut code = [0u8; SITE_LEN];
    user::copy_from(&mut code, after.checked_sub(SITE_LEN)?).ok()?;
    let [mov, a, b, c, d, syscall @ ..] = code;
    (mov == MOV_EAX && syscall == SYSCALL).then_some(u32::from_le_bytes([a, b, c, d]))
}

/// Patches the site that returns to `after`, where a `mov` and a `syscall` are. `None` if it can't be.
fn patch(memory: &Arc<Memory>, after: usize) -> Option<()> {
    let site = after - SITE_LEN;
    let page = page_down(site);
    let number = immediate(after)?;
    // All bytes that change must be in one page.
    if page_down(site + MOV_LEN - 1) != page {
        return None;
    }
    let region = memory.code_region(page)?;
    let mut pages = memory.patches.pages.lock();
    let near = |stubs: &StubPage| stubs.address.abs_diff(site) < REACH && stubs.used + STUB_SIZE <= PAGE_SIZE;
    let index = match pages.iter().position(near) {
        Some(index) => index,
        None => {
            pages.make_room(1).ok()?;
            pages.push_reserved(new_page(memory, region)?);
            pages.len() - 1
        }
    };
    let stubs = pages.get_mut(index)?;
    let stub = stubs.address + stubs.used;
    stubs.frame.write(stubs.used, &stub_code(stub, after, number, stubs.address));
    stubs.used += STUB_SIZE;
    drop(pages);

    let mut jump = [JMP_REL32, 0, 0, 0, 0];
    jump[1..].copy_from_slice(&displacement(site + MOV_LEN, stub));
    let flush = memory.replace_code(page, site - page, &jump)?;
    drop(flush);
    Some(())
}

/// The 32-bit displacement to `target` from the end of an instruction at `end`.
fn displacement(end: usize, target: usize) -> [u8; 4] {
    (target.wrapping_sub(end) as i32).to_le_bytes()
}

/// `lea after(%rip), %rcx; mov $number, %eax; jmp *entry(%rip)`.
fn stub_code(stub: usize, after: usize, number: u32, entry_word: usize) -> [u8; STUB_SIZE] {
    const LEA: [u8; 3] = [0x48, 0x8d, 0x0d];
    const JMP_INDIRECT: [u8; 2] = [0xff, 0x25];
    /// `int3`, where nobody should come.
    const TRAP: u8 = 0xcc;
    let mut code = [TRAP; STUB_SIZE];
    code[..3].copy_from_slice(&LEA);
    code[3..7].copy_from_slice(&displacement(stub + 7, after));
    code[7] = MOV_EAX;
    code[8..12].copy_from_slice(&number.to_le_bytes());
    code[12..14].copy_from_slice(&JMP_INDIRECT);
    code[14..18].copy_from_slice(&displacement(stub + 18, entry_word));
    code
}

/// Maps a page for stubs near the region of code, and out of the program's way: a program may unmap once more what it has
/// unmapped, and expects an address to be free that was. So the page of a library's stubs lies above all that mmap(2)
/// gives out, below the stack's room, and that of the program itself below the program.
fn new_page(memory: &Memory, region: core::ops::Range<usize>) -> Option<StubPage> {
    let frame = Frame::alloc_zeroed()?;
    frame.write(0, &task::patched_syscall_entry().to_le_bytes());
    let prot = Prot::READ | Prot::EXEC;
    let vma = Vma { prot, flags: VmaFlags::empty(), backing: Backing::Placed, label: "[syscalls]" };
    let address = {
        let mut layout = memory.layout_now()?;
        let top = layout.map_top;
        let is_library = region.end <= top && top - region.start < REACH / 2;
        let beyond = if is_library { top..top + REACH / 2 } else { 0..0 };
        let below = region.start.saturating_sub(REACH / 2).max(USER_START)..region.start;
        let above = region.end..region.end.saturating_add(REACH / 2);
        // Not right behind the program's data, where brk(2) wants to go on.
        let address = layout
            .regions
            .lowest_gap(beyond, PAGE_SIZE, PAGE_SIZE)
            .or(layout.regions.highest_gap(below, PAGE_SIZE, PAGE_SIZE))
            .or(layout.regions.lowest_gap(above, PAGE_SIZE, PAGE_SIZE))?;
        layout.regions.insert(address..address + PAGE_SIZE, vma).ok()?;
        layout.changed();
        address
    };
    memory.space.map(address, frame.clone(), prot).ok()?;
    Some(StubPage { address, frame, used: FIRST_STUB })
}

impl Drop for Memory {
    fn drop(&mut self) {
        forget(self.id);
    }
}

impl Memory {
    /// The region that holds `page`, if it is code of a file that isn't shared or written.
    fn code_region(&self, page: usize) -> Option<core::ops::Range<usize>> {
        let layout = self.layout_now()?;
        let (range, vma) = layout.regions.find(page)?;
        let code = vma.prot.contains(Prot::EXEC) && !vma.prot.contains(Prot::WRITE) && !vma.shared();
        (code && matches!(vma.backing, Backing::File { .. })).then_some(range)
    }
}
