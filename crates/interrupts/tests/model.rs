//! A model of one CPU with a program that makes system calls, computes and sleeps, of its timer, of a device and of another
//! CPU that leaves it work. Every interleaving is visited, one instruction at a time where interrupts are on. The rules are
//! the kernel's own ([`coracle_interrupts`]); the model has the rest of the kernel's code in a few steps.
//!
//! What must hold: whatever is due (a timer, a device's request, a thread that another CPU has queued) is acted on in the
//! end, and no CPU halts with a mark. With any of the rules taken away the model finds the run that goes wrong.
use coracle_interrupts::{Meaning, NEVER, OneShot, Place, may_halt};
use std::collections::{HashMap, HashSet, VecDeque};

/// The rules under test.
#[derive(Clone, Copy)]
struct Rules {
    meaning: fn(Place) -> Meaning,
    /// Given the timer's mark, the device's mark, and whether there is nothing to do.
    may_halt: fn(bool, bool, bool) -> bool,
    /// What the handler does with the timer.
    fire: fn(&OneShot),
}

const KERNEL: Rules = Rules {
    meaning: Place::meaning,
    may_halt: |expired, devices, nothing| may_halt(expired, devices, || nothing),
    fire: OneShot::fire,
};

/// Where the CPU is: before this instruction or step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Program,
    CallEntry,
    /// In a system call.
    Call,
    /// The call opens a window to interrupts; it acts on one that came.
    Window,
    CallActs,
    ExitFlags,
    ExitStack,
    ExitJump,
    /// In the kernel because the program was interrupted.
    Interrupted,
    /// The idle loop: looks for something to do, says that it idles, looks for the last time.
    Look,
    SayIdle,
    LastLook,
    EnableInterrupts,
    Halt,
    Halted,
    AfterHalt,
    Act,
}

/// The other CPU, which queues a thread here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Other {
    Rests,
    /// The thread is in the queue; it looks next whether to send an interrupt.
    HasQueued,
}

/// Times are in ticks from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    at: At,
    /// What the kernel knows of the timer ([`OneShot`]).
    armed: Option<u64>,
    expired: bool,
    /// When the hardware goes off.
    hardware: Option<u64>,
    /// When the earliest timer of the kernel is due.
    wheel: Option<u64>,
    /// Interrupts that the CPU has not taken yet.
    timer_line: bool,
    device_line: bool,
    kick_line: bool,
    /// The device waits to be polled; the mark of its interrupt.
    device_waits: bool,
    device_mark: bool,
    /// A thread is in the queue; the idle loop's thread was woken.
    queued: bool,
    woken: bool,
    /// The CPU says that it idles; a wake-up is on its way.
    says_idle: bool,
    kicked: bool,
    other: Other,
}

const START: State = State {
    at: At::Program,
    armed: None,
    expired: false,
    hardware: None,
    wheel: None,
    timer_line: false,
    device_line: false,
    kick_line: false,
    device_waits: false,
    device_mark: false,
    queued: false,
    woken: false,
    says_idle: false,
    kicked: false,
    other: Other::Rests,
};

/// Any time that is not the first.
const NOW: u64 = 1000;
/// The longest sleep, in ticks.
const LONGEST: u64 = 2;

impl State {
    /// Does something with the timer as the kernel knows it.
    fn with_timer<T>(&mut self, action: impl FnOnce(&OneShot) -> T) -> T {
        let timer = OneShot::new();
        if self.expired {
            timer.fire();
        }
        if let Some(ticks) = self.armed {
            assert!(timer.set(NOW + ticks));
        }
        let result = action(&timer);
        self.expired = timer.is_expired();
        let deadline = timer.deadline_ns();
        self.armed = (deadline != NEVER).then(|| deadline - NOW);
        result
    }

    /// Asks for an interrupt when the earliest timer is due.
    fn interrupt_by_wheel(&mut self) {
        let Some(ticks) = self.wheel else { return };
        if self.with_timer(|timer| timer.set(NOW + ticks)) {
            if ticks == 0 {
                (self.hardware, self.timer_line) = (None, true);
            } else {
                self.hardware = Some(ticks);
            }
        }
    }

    /// Acts on the marks.
    fn act(&mut self) {
        if self.with_timer(OneShot::take_expired) {
            if self.wheel == Some(0) {
                self.wheel = None;
                self.woken = true;
            }
            self.interrupt_by_wheel();
        }
        if self.device_mark {
            (self.device_mark, self.device_waits, self.woken) = (false, false, true);
        }
    }

    fn place(&self) -> Option<Place> {
        Some(match self.at {
            At::CallEntry => Place::CallEntry,
            At::ExitStack => Place::ExitStack,
            At::ExitJump => Place::ExitJump,
            At::Halt => Place::Halt,
            At::AfterHalt => Place::AfterHalt,
            At::Window => Place::Window,
            _ => return None,
        })
    }

    fn has_interrupt(&self) -> bool {
        self.timer_line || self.device_line || self.kick_line
    }

    /// The states after the CPU takes one of its interrupts.
    fn interrupts(&self, rules: &Rules) -> Vec<State> {
        let mut all = Vec::new();
        for line in 0..3 {
            let mut next = *self;
            match line {
                0 if self.timer_line => {
                    next.timer_line = false;
                    next.with_timer(rules.fire);
                }
                1 if self.device_line => (next.device_line, next.device_mark) = (false, true),
                2 if self.kick_line => (next.kick_line, next.kicked) = (false, false),
                _ => continue,
            }
            next.at = match (self.at, self.place().map(rules.meaning)) {
                (At::Halted, _) => At::AfterHalt,
                (at, Some(Meaning::IdleLoop)) => at,
                (_, Some(Meaning::IdleLoopWithoutHalt)) => At::AfterHalt,
                (_, Some(Meaning::LongCall)) => At::CallActs,
                // The program itself, or what counts as the program.
                _ => At::Interrupted,
            };
            all.push(next);
        }
        all
    }

    /// What the CPU may do next.
    fn cpu_steps(&self, rules: &Rules) -> Vec<State> {
        let interruptible = self.place().is_some_and(|place| place != Place::Halt)
            || matches!(self.at, At::Program | At::Halted);
        if interruptible && self.has_interrupt() {
            return self.interrupts(rules);
        }
        let to = |at| State { at, ..*self };
        match self.at {
            At::Program => vec![to(At::Program), to(At::CallEntry)],
            At::CallEntry => vec![to(At::Call)],
            At::Call => {
                let mut all = vec![to(At::ExitFlags), to(At::Look), to(At::Window)];
                if self.wheel.is_none() {
                    for ticks in 0..=LONGEST {
                        // A timer that is set stays in the wheel: a sleep until then need not set it again.
                        let mut next = State { wheel: Some(ticks), ..to(At::ExitFlags) };
                        next.interrupt_by_wheel();
                        all.push(next);
                    }
                }
                all
            }
            At::Window => vec![to(At::Call)],
            At::CallActs => {
                let mut next = State { queued: false, ..to(At::Call) };
                next.act();
                next.woken = false;
                vec![next]
            }
            At::ExitFlags => vec![to(At::ExitStack)],
            At::ExitStack => vec![to(At::ExitJump)],
            At::ExitJump => vec![to(At::Program)],
            At::Interrupted => {
                let mut next = State { queued: false, ..to(At::Program) };
                next.act();
                next.woken = false;
                vec![next]
            }
            At::Look if self.woken || self.queued => {
                vec![State { woken: false, queued: false, ..to(At::ExitFlags) }]
            }
            At::Look => vec![to(At::SayIdle)],
            // What is in the wheel has been asked for when it was put there.
            At::SayIdle => vec![State { says_idle: true, ..to(At::LastLook) }],
            At::LastLook => {
                let nothing = !self.queued && !self.woken;
                let halts = (rules.may_halt)(self.expired, self.device_mark, nothing);
                vec![to(if halts { At::EnableInterrupts } else { At::Act })]
            }
            At::EnableInterrupts => vec![to(At::Halt)],
            At::Halt => {
                let mut all = vec![to(At::Halted)];
                if self.has_interrupt() {
                    // Where the hypervisor forgets that interrupts are still off for this instruction.
                    all.extend(self.interrupts(rules));
                }
                all
            }
            At::Halted => vec![],
            At::AfterHalt => vec![to(At::Act)],
            At::Act => {
                let mut next = State { says_idle: false, ..to(At::Look) };
                next.act();
                vec![next]
            }
        }
    }

    /// What may happen around the CPU.
    fn events(&self) -> Vec<State> {
        let mut all = Vec::new();
        let sooner = |time: Option<u64>| time.map(|ticks| ticks.saturating_sub(1));
        let mut tick = State { armed: sooner(self.armed), wheel: sooner(self.wheel), ..*self };
        match self.hardware {
            Some(1) => (tick.hardware, tick.timer_line) = (None, true),
            hardware => tick.hardware = sooner(hardware),
        }
        all.push(tick);
        if !self.device_waits {
            all.push(State { device_waits: true, device_line: true, ..*self });
        }
        match self.other {
            Other::Rests => all.push(State { queued: true, other: Other::HasQueued, ..*self }),
            Other::HasQueued => {
                let in_idle_loop = matches!(self.at, At::Look | At::SayIdle | At::LastLook)
                    || matches!(
                        self.at,
                        At::EnableInterrupts | At::Halt | At::Halted | At::AfterHalt | At::Act
                    );
                let mut next = State { other: Other::Rests, ..*self };
                if (self.says_idle || !in_idle_loop) && !self.kicked {
                    (next.kicked, next.kick_line) = (true, true);
                }
                all.push(next);
            }
        }
        all
    }

    /// Something is due.
    fn is_due(&self, what: Due) -> bool {
        match what {
            Due::Timer => self.wheel == Some(0),
            Due::Device => self.device_waits,
            Due::Thread => self.queued,
        }
    }

    /// Something around the CPU is about to happen, if one only waits.
    fn is_awaited(&self) -> bool {
        self.hardware.is_some() || self.other == Other::HasQueued
    }

    fn halts_with_a_mark(&self) -> bool {
        self.at == At::Halted && (self.expired || self.device_mark) && !self.has_interrupt()
    }
}

#[derive(Clone, Copy, Debug)]
enum Due {
    Timer,
    Device,
    Thread,
}

/// Visits every state: returns where the CPU was, or the error that a state is wrong, with the way to it.
fn explore(rules: &Rules) -> Result<HashSet<At>, String> {
    let mut came_from = HashMap::from([(START, None)]);
    let mut next = VecDeque::from([START]);
    while let Some(state) = next.pop_front() {
        for after in state.cpu_steps(rules).into_iter().chain(state.events()) {
            came_from.entry(after).or_insert_with(|| {
                next.push_back(after);
                Some(state)
            });
        }
    }
    let wrong = |what: String, state: State| {
        let mut path = vec![format!("{state:?}")];
        let mut at = state;
        while let Some(Some(before)) = came_from.get(&at) {
            path.push(format!("{before:?}"));
            at = *before;
        }
        path.reverse();
        Err(format!("{what}:\n{}", path.join("\n")))
    };
    if let Some(state) = came_from.keys().find(|state| state.halts_with_a_mark()) {
        return wrong("a CPU halts with a mark".into(), *state);
    }
    for due in [Due::Timer, Due::Device, Due::Thread] {
        // Where the CPU can go on for ever, or halt for ever, with nothing around it that would change that.
        let mut forgotten: HashSet<State> =
            came_from.keys().copied().filter(|s| s.is_due(due) && !s.is_awaited()).collect();
        loop {
            let before = forgotten.len();
            let kept = forgotten.clone();
            forgotten.retain(|state| {
                let steps = state.cpu_steps(rules);
                steps.is_empty() || steps.iter().any(|after| kept.contains(after))
            });
            if forgotten.len() == before {
                break;
            }
        }
        if let Some(state) = forgotten.iter().next() {
            return wrong(format!("{due:?} is due and forgotten"), *state);
        }
    }
    Ok(came_from.keys().map(|state| state.at).collect())
}

#[test]
fn no_interrupt_is_lost() {
    let visited = explore(&KERNEL).unwrap_or_else(|trace| panic!("{trace}"));
    for at in [
        At::CallEntry,
        At::CallActs,
        At::ExitStack,
        At::ExitJump,
        At::Halt,
        At::Halted,
        At::AfterHalt,
        At::Interrupted,
    ] {
        assert!(visited.contains(&at), "the model never comes to {at:?}");
    }
}

/// The rules with another meaning for one place.
macro_rules! with_meaning {
    ($place:ident, $meaning:ident) => {
        Rules {
            meaning: |place| if place == Place::$place { Meaning::$meaning } else { place.meaning() },
            ..KERNEL
        }
    };
}

#[test]
fn each_place_needs_its_meaning() {
    for (name, rules) in [
        ("the entry of a call", with_meaning!(CallEntry, IdleLoop)),
        ("the exit's stack", with_meaning!(ExitStack, IdleLoop)),
        ("the exit's jump", with_meaning!(ExitJump, IdleLoop)),
        ("the halt", with_meaning!(Halt, IdleLoop)),
        ("the window", with_meaning!(Window, IdleLoop)),
    ] {
        assert!(explore(&rules).is_err(), "{name}: the model does not see that its rule is missing");
    }
}

#[test]
fn a_forgotten_mark_keeps_a_cpu_awake() {
    let forgets = with_meaning!(CallEntry, IdleLoop);
    assert!(!explore(&forgets).unwrap_err().contains("halts with a mark"));
    let also_halts =
        Rules { may_halt: |_, devices, nothing| may_halt(false, devices, || nothing), ..forgets };
    assert!(explore(&also_halts).unwrap_err().contains("halts with a mark"));
    let also_halts =
        Rules { may_halt: |expired, _, nothing| may_halt(expired, false, || nothing), ..forgets };
    assert!(explore(&also_halts).unwrap_err().contains("halts with a mark"));
}

#[test]
fn work_of_another_cpu_is_seen_before_the_halt() {
    let blind = Rules { may_halt: |expired, devices, _| may_halt(expired, devices, || true), ..KERNEL };
    assert!(explore(&blind).unwrap_err().contains("Thread is due"));
}

#[test]
fn the_handler_leaves_a_timer_that_can_be_set_anew() {
    let silent = Rules { fire: |_| {}, ..KERNEL };
    assert!(explore(&silent).unwrap_err().contains("Timer is due"));
}
