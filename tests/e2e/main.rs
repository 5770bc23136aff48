//! End-to-end tests: the built binary on real components.

mod basics;
mod cache;
mod cluster;
mod concurrent;
mod conformance;
mod crash;
mod detach;
mod edges;
mod faults;
mod full_disk;
mod limits;
mod live;
mod names;
mod network;
mod outcomes;
mod parameters;
mod plugins;
mod policies;
mod projects;
mod sandbox;
mod secrets;
mod serve;
mod slurm;
mod status;
mod unprivileged;
mod usage;
