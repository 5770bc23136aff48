//! End-to-end tests: the built binary on real components.

mod basics;
mod crash;
mod faults;
mod live;
mod names;
mod sandbox;
mod serve;
mod unprivileged;
