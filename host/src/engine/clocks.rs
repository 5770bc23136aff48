//! Waiting for a time to come, to the tenth of a millisecond.
//!
//! wasmtime-wasi waits by tokio's timers, which end up to a millisecond late, and
//! all together at the same tick: files that wait would come in bursts, each in
//! the way of the others. These functions shadow its own.

use std::time::Duration;

use futures_timer::Delay;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock::Host as _;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::guest::Guest;

/// The interface of WASI 0.2 in the version that this wasmtime links.
const PLAIN: &str = "wasi:clocks/monotonic-clock@0.2.12";

/// The same of WASI 0.3.
const CONCURRENT: &str = "wasi:clocks/monotonic-clock@0.3.0";

/// Puts the functions of WASI 0.2 in place of wasmtime-wasi's.
pub(super) fn shadow(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut instance = linker.instance(PLAIN)?;
    instance.func_wrap(
        "subscribe-duration",
        |mut store: StoreContextMut<'_, Guest>, (nanoseconds,): (u64,)| {
            alarm(store.data_mut(), nanoseconds)
        },
    )?;
    instance.func_wrap(
        "subscribe-instant",
        |mut store: StoreContextMut<'_, Guest>, (when,): (u64,)| {
            let left = until(store.data_mut(), when)?;
            alarm(store.data_mut(), left)
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Puts the functions of WASI 0.3 in place of wasmtime-wasi's.
pub(super) fn shadow_concurrent(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut instance = linker.instance(CONCURRENT)?;
    instance.func_wrap_concurrent("wait-for", |_, (nanoseconds,): (u64,)| {
        Box::pin(async move { wait(nanoseconds).await })
    })?;
    instance.func_wrap_concurrent("wait-until", |accessor, (when,): (u64,)| {
        let left = accessor.with(|mut store| until(store.data_mut(), when));
        Box::pin(async move { wait(left?).await })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// How many nanoseconds there are until a time of the guest's clock.
fn until(guest: &mut Guest, when: u64) -> wasmtime::Result<u64> {
    Ok(when.saturating_sub(guest.clocks().now()?))
}

async fn wait(nanoseconds: u64) -> wasmtime::Result<()> {
    if nanoseconds > 0 {
        Delay::new(Duration::from_nanos(nanoseconds)).await;
    }
    Ok(())
}

fn alarm(guest: &mut Guest, nanoseconds: u64) -> wasmtime::Result<(Resource<DynPollable>,)> {
    let delay = (nanoseconds > 0).then(|| Delay::new(Duration::from_nanos(nanoseconds)));
    let alarm = guest.table.push(Alarm(delay))?;
    Ok((subscribe(&mut guest.table, alarm)?,))
}

/// A time that a guest waits for; none, once it has come.
struct Alarm(Option<Delay>);

#[async_trait]
impl Pollable for Alarm {
    async fn ready(&mut self) {
        match &mut self.0 {
            Some(delay) => {
                delay.await;
                self.0 = None;
            }
            // A guest that asks again and again must let others have their turn.
            None => tokio::task::yield_now().await,
        }
    }
}
