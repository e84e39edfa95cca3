//! `coracle`: joins a Linux program, its libraries and a small kernel into one bootable file, and runs it.

mod args;
mod error;
mod inspect;
mod kernel;
mod net;
mod pack;
mod run;
mod settings;
mod size;

use std::process::ExitCode;

use args::Command;

fn main() -> ExitCode {
    let result = match args::parse() {
        Command::Build(args) => pack::build(&args).map(|()| 0),
        Command::Run(args) => run::run(&args),
        Command::Inspect(args) => inspect::inspect(&args).map(|()| 0),
        Command::Kernel(args) => inspect::write_kernel(&args).map(|()| 0),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            error.print();
            ExitCode::from(error::FAILED)
        }
    }
}
