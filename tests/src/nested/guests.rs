//! The guests of the second level, and which of the test programs they run.
use std::path::PathBuf;
use std::process::Command;

use crate::describe::{self, Program, Source};
use crate::matrix::Mode;
use crate::{bare, build, linux};

/// A guest to boot.
#[derive(Clone, Debug)]
pub struct Guest {
    /// What it is called.
    pub name: String,
    /// Its image.
    pub image: PathBuf,
    /// The mode.
    pub mode: Mode,
    /// QEMU's machine type: `microvm` or `q35`.
    pub kind: &'static str,
    /// `coracle run` starts it, which maps the image's file into its memory.
    pub is_mapped: bool,
}

/// QEMU's options for a machine type: `microvm` as `coracle run` makes it or `microvm-mmio` without PCI Express; `q35`.
pub fn machine(kind: &str) -> &'static str {
    match kind {
        "microvm" => "-machine microvm,acpi=on,pcie=on,rtc=on,pit=off,pic=off,isa-serial=on -bios qboot.rom",
        "microvm-mmio" => {
            "-machine microvm,acpi=off,rtc=on,pit=off,pic=off,isa-serial=on,auto-kernel-cmdline=on \
             -global virtio-mmio.force-legacy=false"
        }
        _ => "-machine q35 -vga none",
    }
}

impl Guest {
    /// The command for the shell of the first level, which ends it after `limit_s` seconds; the control channel goes to
    /// `control`, the rest of what the guest says to standard output.
    pub fn command(&self, number: usize, control: &str, limit_s: u32) -> String {
        if self.is_mapped {
            // The log has all of the control channel but the exit status, which is the command's.
            return format!(
                "{{ timeout {limit_s} coracle run --mode {} --machine {} -m 128M --net none --log info --log-file {control} \
                 /guests/{number}.img; set -- $?; echo \"S$1\" >>{control}; (exit $1); }}",
                self.mode.name(),
                self.kind,
            );
        }
        format!(
            "timeout {limit_s} qemu-system-x86_64 {} -accel kvm -cpu host,-xsave -smp 1 -m 128M -nodefaults -no-user-config -no-reboot \
             -display none -serial stdio -chardev file,id=control,path={control} \
             -device isa-debugcon,iobase=0xe9,chardev=control -device isa-debug-exit,iobase=0x501,iosize=4 \
             -kernel /guests/{number}.img -append 'control=debugcon@0xe9 poweroff=isa-debug-exit@0x501 \
             log=info mode={} ip=none'",
            machine(self.kind),
            self.mode.name(),
        )
    }
}

/// Families whose programs depend on the CPU, its traps, its clocks and its modes: what another hypervisor may break.
const FAMILIES: [&str; 8] = ["basic", "cpu", "crash", "futex", "memory", "signals", "threads", "time"];
/// Programs taken of each family.
const OF_EACH: usize = 7;
/// One in so many of the guests is started by `coracle run`.
const MAPPED_OF: usize = 9;

/// The programs of the selection, with the guests that they run in: each program in both modes, machine types in turn, and
/// some of them once more, started by `coracle run`.
///
/// # Errors
/// If a program or an image can't be built.
pub fn selection(filter: &str) -> Result<Vec<(Program, Guest)>, String> {
    let fits = |program: &Program| {
        let simple = program.linux && !program.data && program.add.is_empty() && program.stdin.is_empty();
        simple && program.memory.is_none() && matches!(program.source, Source::C { plugin: None, .. })
    };
    let all = describe::all();
    let mut chosen = Vec::new();
    for family in FAMILIES {
        let prefix = format!("{family}::");
        chosen.extend(all.iter().filter(|p| p.name.starts_with(&prefix) && fits(p)).take(OF_EACH).cloned());
    }
    let mut guests = Vec::new();
    for (number, program) in chosen.into_iter().enumerate() {
        if !program.name.contains(filter) {
            continue;
        }
        let image = image(&program)?;
        for (turn, &mode) in program.modes.iter().enumerate() {
            let kind = ["microvm", "q35"][(number + turn) % 2];
            let name = format!("{}::{}_{kind}", program.name, mode.name());
            let guest = Guest { name, image: image.clone(), mode, kind, is_mapped: false };
            if (2 * number + turn).is_multiple_of(MAPPED_OF) {
                let name = format!("{}_mapped", guest.name);
                guests.push((program.clone(), Guest { name, is_mapped: true, ..guest.clone() }));
            }
            guests.push((program.clone(), guest));
        }
    }
    Ok(guests)
}

/// The image of a program with its arguments and environment.
fn image(program: &Program) -> Result<PathBuf, String> {
    let arguments = linux::arguments(program);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let name = format!("kvm-{}", program.name.replace("::", "-"));
    let settings: Vec<String> =
        linux::environment(program).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    bare::image_with(&name, &build::build(program)?, &arguments, |command: &mut Command| {
        command.args(["--user", "root"]);
        settings.iter().for_each(|setting| {
            command.args(["-e", setting]);
        });
    })
}
