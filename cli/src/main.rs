//! `coracle`: joins a Linux program, its libraries and a small kernel into one bootable file, and runs it.

// `println!` and its kin panic when the reader of a pipe has gone away; `output` and `error` do not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod arch;
mod args;
mod bytes;
mod debug;
mod environment;
mod error;
mod exec;
mod inspect;
mod instances;
mod kernel;
mod log;
mod metrics;
mod net;
mod observe;
mod output;
mod pack;
mod run;
mod settings;
mod shell;
mod size;
mod ssh;
mod volume;

use std::process::ExitCode;

use args::Command;

fn main() -> ExitCode {
    if run::is_keeper() {
        run::keep();
        return ExitCode::SUCCESS;
    }
    shell::complete();
    let command = args::parse();
    let is_run = matches!(command, Command::Run(_) | Command::Exec(_) | Command::SshSession(_));
    let result = match command {
        Command::Build(args) => pack::build(&args).map(|()| 0),
        Command::Run(args) => run::run(&args),
        Command::Inspect(args) => inspect::inspect(&args).map(|()| 0),
        Command::Ps(args) => instances::ps(&args).map(|()| 0),
        Command::Logs(args) => log::logs(&args).map(|()| 0),
        Command::Stop(args) => instances::stop(&args).map(|()| 0),
        Command::Start(args) => instances::start(&args),
        Command::Restart(args) => instances::restart(&args),
        Command::Rename(args) => instances::rename(&args).map(|()| 0),
        Command::Kill(args) => instances::kill(&args).map(|()| 0),
        Command::Crash(args) => instances::crash(&args).map(|()| 0),
        Command::Wait(args) => instances::wait(&args).map(|()| 0),
        Command::Rm(args) => instances::rm(&args).map(|()| 0),
        Command::Pause(args) => instances::pause(&args).map(|()| 0),
        Command::Unpause(args) => instances::unpause(&args).map(|()| 0),
        Command::Exec(args) => exec::exec(&args),
        Command::SshConfig(args) => ssh::config(&args).map(|()| 0),
        Command::SshServer(args) => ssh::serve(&args),
        Command::SshSession(args) => ssh::session(&args),
        Command::Stack(args) => observe::stack(&args).map(|()| 0),
        Command::Gdb(args) => debug::gdb(&args),
        Command::Core(args) => debug::core(&args).map(|()| 0),
        Command::Trace(args) => observe::trace(&args).map(|()| 0),
        Command::Profile(args) => observe::profile(&args).map(|()| 0),
        Command::Maps(args) => observe::maps(&args).map(|()| 0),
        Command::Files(args) => observe::files(&args).map(|()| 0),
        Command::Pcap(args) => observe::pcap(&args).map(|()| 0),
        Command::Netstat(args) => observe::netstat(&args).map(|()| 0),
        Command::Metrics(args) => metrics::metrics(&args).map(|()| 0),
        Command::Stats(args) => observe::stats(&args).map(|()| 0),
        Command::Top(args) => observe::top(&args).map(|()| 0),
        Command::Volume(command) => volume::run(&command).map(|()| 0),
        Command::Kernel(args) => inspect::write_kernel(&args).map(|()| 0),
        Command::Completions(args) => shell::completions(&args).map(|()| 0),
        Command::Man(args) => shell::man(&args).map(|()| 0),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            error.print();
            ExitCode::from(if is_run { error.status() } else { error::FAILED })
        }
    }
}
