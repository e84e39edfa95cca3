//! What higher layers keep with a process: made when it is first asked for, and ended with the process's program.
use alloc::boxed::Box;
use coracle_fallible::{NoMemory, try_box};
use coracle_hal::once::Once;
use core::any::Any;

/// What can be kept with a process.
pub trait Attachment: Any + Send + Sync {
    /// A new one.
    ///
    /// # Errors
    /// [`NoMemory`].
    fn new() -> Result<Self, NoMemory>
    where
        Self: Sized;
    /// The process ends, or executes another program.
    fn program_ended(&self);
}

/// A place for one, of the type that a single higher layer uses it with.
#[derive(Default)]
pub struct Place(Once<Box<dyn Attachment>>);

impl Place {
    /// What is there, if it was made.
    pub fn get<T: Attachment>(&self) -> Option<&T> {
        let kept: &dyn Any = &**self.0.get()?;
        kept.downcast_ref()
    }

    /// What is there, made if it was not. `None`: it is of another type.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn get_or_make<T: Attachment>(&self) -> Result<Option<&T>, NoMemory> {
        if !self.0.is_completed() {
            let new = try_box(T::new()?)?;
            // Dropped, if another thread was faster.
            self.0.call_once(|| new);
        }
        Ok(self.get())
    }

    /// The process ends, or executes another program.
    pub fn program_ended(&self) {
        if let Some(kept) = self.0.get() {
            kept.program_ended();
        }
    }
}
