//! ptrace(2): threads that another process holds, one by one, and lets go on. Where a thread stops, and how its registers are kept
//! meanwhile, is as for a debugger (`task::debug`).
mod report;
mod stop;
mod trace;

pub use report::{Ended, Found, look};
pub use stop::{
    call_stop, event, executed, group_stop, has_option, interrupted, new_child, signal_stop, tracer_sees,
    wake,
};
pub use trace::{attach, keeps_rights, process_ended, release, resume, thread_ended, tracer_ended};
