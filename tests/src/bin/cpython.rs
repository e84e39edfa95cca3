//! `make test-cpython`: CPython's own tests on Linux and in guests (see `coracle_tests::cpython`).
use coracle_tests::cpython::{Site, exceptions, modules, report, root, run};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str =
    "usage: cpython [--resume] [--only linux|unikernel|protected]... [--limit SECONDS] [MODULE]...
Runs modules of CPython's tests, all unless some are named. --resume takes what earlier runs found.";
/// How long a module may take: under emulation everything is some 10 to 30 times slower than natively.
const LIMIT: Duration = Duration::from_secs(1800);

struct Options {
    resume: bool,
    sites: Vec<Site>,
    limit: Duration,
    modules: Vec<String>,
}

fn main() -> ExitCode {
    match options().and_then(|options| test(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options { resume: false, sites: Vec::new(), limit: LIMIT, modules: Vec::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--resume" => options.resume = true,
            "--only" => {
                let name = words.next().ok_or(USAGE)?;
                options.sites.push(Site::ALL.into_iter().find(|site| site.name() == name).ok_or(USAGE)?);
            }
            "--limit" => {
                let seconds = words.next().and_then(|word| word.parse().ok()).ok_or(USAGE)?;
                options.limit = Duration::from_secs(seconds);
            }
            option if option.starts_with('-') => return Err(USAGE.into()),
            module => options.modules.push(module.to_owned()),
        }
    }
    if options.sites.is_empty() {
        options.sites = Site::ALL.to_vec();
    }
    Ok(options)
}

fn test(options: &Options) -> Result<(), String> {
    let exceptions = exceptions()?;
    let root = root()?;
    let all = modules(&root)?;
    if let Some(unknown) = options.modules.iter().find(|name| !all.contains(name)) {
        return Err(format!("there is no module {unknown}"));
    }
    let chosen = if options.modules.is_empty() { &all } else { &options.modules };
    let start = Instant::now();
    let mut found = Vec::new();
    for &site in &options.sites {
        let verdicts = run(site, &root, chosen, options.limit, options.resume, |module, verdict| {
            println!("{:>7.1} s  {:9}  {module}: {verdict:?}", start.elapsed().as_secs_f64(), site.name());
        })?;
        found.push((site, verdicts));
    }
    let (table, errors) = report(&found, &exceptions);
    println!("{table}");
    if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) }
}
