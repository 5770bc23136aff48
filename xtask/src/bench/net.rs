//! Programs that run in turn over the same files, start-up left out.

use std::process::Command;

use anyhow::Result;

use super::{measure, stats::Sample, workload::Workload};

/// How a program is started over a workload.
pub type Start<'a> = Box<dyn Fn(&Workload) -> Command + 'a>;

/// Files a second of each program: the time over `many` files less its median time over one, measured beside it.
///
/// `check` looks at the outputs after each run over `many`. Before the first repetition each program ran once.
pub fn rates(
    programs: &[Start],
    one: &Workload,
    many: &Workload,
    repetitions: usize,
    mut check: impl FnMut() -> Result<()>,
) -> Result<Vec<Sample>> {
    let seconds = |program: &Start, files: &Workload| -> Result<f64> {
        files.reset()?;
        Ok(measure::run(&mut program(files))?.seconds())
    };
    for program in programs {
        seconds(program, one)?;
    }
    let mut times = vec![(vec![], vec![]); programs.len()];
    for _ in 0..repetitions {
        for (program, (start, whole)) in programs.iter().zip(&mut times) {
            start.push(seconds(program, one)?);
            whole.push(seconds(program, many)?);
            check()?;
        }
    }
    let rates = times.into_iter().map(|(start, whole)| {
        let start = Sample::new(start).median();
        Sample::new(whole).map(|whole| (many.files - one.files) as f64 / (whole - start))
    });
    Ok(rates.collect())
}

/// One rate of another, in per cent.
pub fn percent(rate: &Sample, of: &Sample) -> f64 {
    100.0 * rate.median() / of.median()
}
