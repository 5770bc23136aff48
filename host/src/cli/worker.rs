//! `worker`: what a Slurm job runs. Not for people.

use std::path::PathBuf;

use clap::Args;

use super::LogArgs;
use crate::executor::slurm::protocol::WorkerName;
use crate::{log, run};

/// Work for a run on a cluster (its jobs call this)
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// The run's directory
    run_dir: PathBuf,
    /// The worker's seat: its submission and index
    seat: String,
    /// The plan's digest
    plan: String,
    #[command(flatten)]
    log: LogArgs,
}

pub fn worker(args: &WorkerArgs) -> anyhow::Result<u8> {
    log::init(args.log.log_format, args.log.level(), true);
    let restart = std::env::var("SLURM_RESTART_COUNT").ok().and_then(|n| n.parse().ok());
    let seat: WorkerName = args.seat.parse().map_err(super::Usage)?;
    let name = WorkerName { restart: restart.unwrap_or(0), ..seat };
    Ok(run::worker::work(&args.run_dir, name, &args.plan)?.code())
}
