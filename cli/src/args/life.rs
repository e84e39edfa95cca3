//! `coracle start`, `restart`, `rename`, `rm` and `stop`, and the options of `coracle run` for the life of a guest.

use clap::Args;

use crate::run::Restart;

/// Options of `coracle run` that say what happens when the guest has ended.
#[derive(Args, Clone, Debug, Default)]
pub struct LifeArgs {
    /// Start the guest again when it has ended: no, on-failure, on-failure:N (at most N times), always or unless-stopped [default: no]
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<Restart>,

    /// Forget the guest and its log when it has ended
    #[arg(long)]
    pub rm: bool,
}

/// `coracle start`
#[derive(Args, Debug)]
pub struct StartArgs {
    /// Names of the guests
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub names: Vec<String>,

    /// Start those run with `--restart always`, and with `--restart unless-stopped` unless `coracle stop` has ended them: for the
    /// start of the host
    #[arg(long)]
    pub all: bool,
}

/// `coracle stop`
#[derive(Args, Debug)]
pub struct StopArgs {
    /// Names of the guests
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub names: Vec<String>,

    /// How long a program may take to end after SIGTERM, before its guest is killed
    #[arg(short = 't', long = "time", value_name = "SECONDS", default_value_t = 10)]
    pub seconds: u64,

    /// Stop all that run
    #[arg(long)]
    pub all: bool,

    /// Let `coracle start --all` start them again also with `--restart unless-stopped`: for the end of the host
    #[arg(long)]
    pub shutdown: bool,
}

/// `coracle restart`
#[derive(Args, Debug)]
pub struct RestartArgs {
    /// Names of the guests
    #[arg(required = true)]
    pub names: Vec<String>,

    /// How long a program may take to end after SIGTERM, before its guest is killed
    #[arg(short = 't', long = "time", value_name = "SECONDS", default_value_t = 10)]
    pub seconds: u64,
}

/// `coracle rename`
#[derive(Args, Debug)]
pub struct RenameArgs {
    /// The guest
    pub old: String,

    /// Its new name
    #[arg(value_parser = crate::instances::name)]
    pub new: String,
}

/// `coracle rm`
#[derive(Args, Debug)]
pub struct RmArgs {
    /// Names of the guests
    #[arg(required = true)]
    pub names: Vec<String>,

    /// End those that run: at once, without asking their programs
    #[arg(short, long)]
    pub force: bool,
}
