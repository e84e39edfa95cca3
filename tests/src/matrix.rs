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

/// On how many of the machines a program is booted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coverage {
    /// One for each mode, in turn.
    #[default]
    InTurn,
    /// Each mode on each number of CPUs; machine types take turns.
    EveryCpuCount,
    /// All of them.
    Full,
}

/// The machines for the program of this number.
pub fn machines(number: usize, modes: &[Mode], coverage: Coverage) -> Vec<Machine> {
    let turn = |mode| match mode {
        Mode::Unikernel => number % VARIANTS.len(),
        // Not in step with the other mode, so that a program meets different machines in the two.
        Mode::Protected => (number + 1 + number / VARIANTS.len() % (VARIANTS.len() - 1)) % VARIANTS.len(),
    };
    let mut all = Vec::new();
    for &mode in modes {
        let (turn_cpus, turn_kind) = VARIANTS[turn(mode)];
        for (cpus, kind) in VARIANTS {
            let wanted = match coverage {
                Coverage::InTurn => (cpus, kind) == (turn_cpus, turn_kind),
                // The other number of CPUs gets the other type.
                Coverage::EveryCpuCount => (cpus == turn_cpus) == (kind == turn_kind),
                Coverage::Full => true,
            };
            if wanted {
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
            met.extend(machines(number, &Mode::ALL, Coverage::InTurn));
        }
        for machine in machines(0, &Mode::ALL, Coverage::Full) {
            assert_eq!(met.iter().filter(|m| **m == machine).count(), 3, "{machine}");
        }
    }

    #[test]
    fn every_cpu_count_is_met_once_in_each_mode() {
        for number in 0..12 {
            let met = machines(number, &Mode::ALL, Coverage::EveryCpuCount);
            assert_eq!(met.len(), 4);
            for mode in Mode::ALL {
                for cpus in [1, 2] {
                    assert_eq!(met.iter().filter(|m| m.mode == mode && m.cpus == cpus).count(), 1);
                }
            }
            for machine in machines(number, &Mode::ALL, Coverage::InTurn) {
                assert!(met.contains(&machine));
            }
        }
    }
}
