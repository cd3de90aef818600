//! The faces: what a person types and reads. Each verb has its file.

mod alone;
pub mod args;
mod audit;
mod check;
#[cfg(feature = "simulator")]
mod demo;
mod explain;
mod follow;
mod generate;
mod history;
mod holds;
mod key;
mod look;
mod manual;
mod muster;
mod output;
mod pause;
mod plan;
mod prompt;
mod rotate;
mod run;
mod scene;
mod sight;
#[cfg(feature = "simulator")]
mod simulate;
mod status;
mod tend;

use crate::fault::Fault;
use args::{Audit, Cli, Key, Verb};
use scene::Scene;

/// How a command ends. The order is that of urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All well: status 0.
    Well,
    /// Attention or findings: status 1.
    Attention,
    /// Halted: status 2, as for a command that could not do what it was asked.
    Halted,
    /// What the application ended with whose parent this was.
    Passed(u8),
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Well => Self::from(0),
            Exit::Attention => Self::from(1),
            Exit::Halted => Self::from(2),
            Exit::Passed(status) => Self::from(status),
        }
    }
}

/// What has to be done before this process has threads, and is all that it does.
///
/// # Errors
/// Why it could not be done.
pub fn before_all(cli: &Cli) -> Option<Result<Exit, Fault>> {
    if let Verb::Follow(args) = &cli.verb { follow::before_all(args) } else { None }
}

/// Does what was typed.
///
/// # Errors
/// Why it could not be done.
pub async fn obey(cli: Cli) -> Result<Exit, Fault> {
    let config = cli.config.as_path();
    match cli.verb {
        Verb::Run(args) => run::run(config, &args).await,
        Verb::Follow(args) => follow::follow(config, args).await,
        Verb::Check(args) => check::check(config, &args).await,
        Verb::Plan(args) => plan::plan(&Scene::read(config)?, &args).await,
        Verb::Rotate(args) => rotate::rotate(&Scene::read(config)?, &args).await,
        Verb::Status(args) => status::status(&Scene::read(config)?, &args).await,
        Verb::Explain(args) => explain::explain(&Scene::read(config)?, &args).await,
        Verb::History(args) => history::history(&Scene::read(config)?, &args).await,
        Verb::Adopt(args) => tend::adopt(&Scene::read(config)?, &args).await,
        Verb::Recover(args) => tend::recover(&Scene::read(config)?, &args).await,
        Verb::Pause(args) => pause::pause(&Scene::read(config)?, &args).await,
        Verb::Resume(args) => pause::resume(&Scene::read(config)?, &args).await,
        Verb::Reveal(args) => tend::reveal(&Scene::read(config)?, &args).await,
        Verb::Generate(args) => generate::generate(config, &args),
        Verb::Audit(Audit::Verify(args)) => audit::verify(&Scene::read(config)?, &args).await,
        Verb::Audit(Audit::Export(args)) => audit::export(&Scene::read(config)?, &args).await,
        Verb::Key(Key::New) => Ok(key::new()),
        Verb::Key(Key::Rotate { to }) => key::rotate(config, &to).await,
        Verb::Man(args) => manual::man(&args),
        Verb::Completions { shell } => Ok(manual::completions(shell)),
        Verb::Schema => Ok(manual::schema()),
        #[cfg(feature = "simulator")]
        Verb::Demo => demo::demo().await,
        #[cfg(feature = "simulator")]
        Verb::Simulate(args) => simulate::simulate(args).await,
    }
}
