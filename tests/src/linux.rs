//! Runs a test program on Linux, beside the guest.
use std::fs;
use std::io::pipe;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::describe::Program;
use crate::outcome::Outcome;
use crate::{build, netns, paths, wait};

/// Catches programs that hang.
const LIMIT: Duration = Duration::from_secs(60);

/// A variable of every program's environment.
pub const PATH: [&str; 2] = ["PATH", "/usr/local/bin:/usr/bin:/bin"];

/// The folder that a program finds its files in, on Linux and in the guest alike.
pub fn data_folder(program: &Program) -> PathBuf {
    paths::work().join("run").join(program.name.replace("::", "/")).join("data")
}

/// Its arguments, with the folder of files filled in.
pub fn arguments(program: &Program) -> Vec<String> {
    let data = data_folder(program);
    program.args.iter().map(|a| a.replace("$DATA", &data.to_string_lossy())).collect()
}

/// Its environment beyond what every program has.
pub fn environment(program: &Program) -> Vec<(String, String)> {
    let mut all = program.env.clone();
    if program.data {
        all.push(("DATA".into(), data_folder(program).to_string_lossy().into_owned()));
    }
    all
}

/// Runs it, with fresh copies of its files, both output streams joined.
///
/// # Errors
/// If it can't be built or started.
pub fn run(program: &Program) -> Result<Outcome, String> {
    let file = build::build(program)?;
    // Another runner may be at the same program: they would share its files.
    let data = data_folder(program);
    let folder = data.parent().expect("it lies in a folder");
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let lock = fs::File::create(folder.join("lock")).map_err(|e| e.to_string())?;
    lock.lock().map_err(|e| format!("{}: {e}", folder.display()))?;
    if program.data {
        let _ = fs::remove_dir_all(&data);
        paths::copy_tree(paths::data(), &data);
        if let Some(library) = build::plugin(program, build::Target::Host)? {
            fs::copy(&library, data.join("plugin.so")).map_err(|e| format!("{}: {e}", library.display()))?;
        }
    }
    let (reader, writer) = pipe().map_err(|e| e.to_string())?;
    let twin = writer.try_clone().map_err(|e| e.to_string())?;
    let mut command = Command::new(&file);
    command.args(arguments(program)).env_clear().env(PATH[0], PATH[1]).envs(environment(program));
    command.current_dir(Path::new("/")).stdin(Stdio::piped()).stdout(writer).stderr(twin).process_group(0);
    let mut child = netns::spawn_alone(&mut command)?;
    // The command holds the writing ends of the pipe, which has to close for its end to be seen.
    drop(command);
    let output = wait::collect(reader);
    wait::feed(child.stdin.take().expect("stdin is a pipe"), program.stdin.clone());
    let status = wait::finish(&mut child, LIMIT);
    let outcome = Outcome {
        output: output.join().unwrap_or_default(),
        status: status.map_or(-1, wait::shell_status),
        log: String::new(),
        timed_out: status.is_none(),
    };
    Ok(if program.sort { outcome.sorted() } else { outcome })
}
