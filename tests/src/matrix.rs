//! On which machines a program is booted: mode, CPUs and machine type, all eight in turn over the programs.
use std::fmt;

/// How program and kernel share the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Both in ring 0.
    Unikernel,
    /// The program in ring 3.
    Protected,
}

impl Mode {
    /// Both modes.
    pub const ALL: [Self; 2] = [Self::Unikernel, Self::Protected];

    /// As `coracle` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unikernel => "unikernel",
            Self::Protected => "protected",
        }
    }

    /// The mode of that name.
    ///
    /// # Errors
    /// If there is none.
    pub fn parse(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|m| m.name() == name).ok_or_else(|| format!("unknown mode: {name}"))
    }
}

/// A virtual machine to boot on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The mode.
    pub mode: Mode,
    /// How many CPUs.
    pub cpus: u32,
    /// QEMU's machine type.
    pub kind: &'static str,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}cpu_{}", self.mode.name(), self.cpus, self.kind)
    }
}

/// CPUs and machine types, in the order in which programs take turns.
const VARIANTS: [(u32, &str); 4] = [(1, "microvm"), (2, "q35"), (2, "microvm"), (1, "q35")];

/// The machines for the program of this number: one for each mode, in turn, or all of them.
pub fn machines(number: usize, modes: &[Mode], full: bool) -> Vec<Machine> {
    let turn = |mode| match mode {
        Mode::Unikernel => number % VARIANTS.len(),
        // Not in step with the other mode, so that a program meets different machines in the two.
        Mode::Protected => (number + 1 + number / VARIANTS.len() % (VARIANTS.len() - 1)) % VARIANTS.len(),
    };
    let mut all = Vec::new();
    for &mode in modes {
        for (i, &(cpus, kind)) in VARIANTS.iter().enumerate() {
            if full || i == turn(mode) {
                all.push(Machine { mode, cpus, kind });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_eight_are_met_evenly() {
        let mut met = Vec::new();
        for number in 0..12 {
            met.extend(machines(number, &Mode::ALL, false));
        }
        for machine in machines(0, &Mode::ALL, true) {
            assert_eq!(met.iter().filter(|m| **m == machine).count(), 3, "{machine}");
        }
    }
}
