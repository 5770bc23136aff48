//! Work that takes the CPU alone: what a component makes of it beside native code.

use std::fs;

use anyhow::{Result, ensure};

use super::{
    Bench,
    chart::{Bar, Chart, Scale},
    compute::{Compute, SOURCE},
    net::{self, Start, percent},
    report::{Goal, Report, Target},
    stats::Sample,
    throughput::row,
    workload::Workload,
};
use crate::process::note;

const SIZE: usize = 1 << 20;
const THREADS: [usize; 2] = [1, 2];
/// What is wanted, of native code on as many threads.
const GOAL: f64 = 80.0;

/// A work of the task, as its option calls it.
struct Work {
    name: &'static str,
    title: &'static str,
    /// How many are worked on.
    files: usize,
    /// Whether CPUs have instructions for it.
    in_silicon: bool,
    /// What costs most.
    why: &'static str,
}

const WORKS: [Work; 3] = [
    Work {
        name: "fnv1a",
        title: "FNV-1a",
        files: 400,
        in_silicon: false,
        why: "reading 1 MiB into the component's memory is a part of so short a work",
    },
    Work {
        name: "words",
        title: "Word count",
        files: 100,
        in_silicon: false,
        why: "hashing: SipHash takes nearly twice as long as natively, and the table is looked through 8 slots at \
              a time instead of 16",
    },
    Work {
        name: "sha256",
        title: "SHA-256",
        files: 400,
        in_silicon: true,
        why: "the native program uses the CPU's instructions for SHA-256; WebAssembly has none",
    },
];

/// MiB a second of one work on some threads.
struct Rates {
    task: Sample,
    native: Sample,
    /// Without the CPU's instructions for it, where there may be some.
    soft: Option<Sample>,
}

pub fn section(bench: &Bench, report: &mut Report) -> Result<()> {
    let compute = Compute::build()?;
    let one = Workload::texts(bench, "cpu-one", 1, SIZE)?;
    let text = fs::read_to_string(one.input.join("0000000.txt"))?;
    report.section(
        "Work for the CPU",
        &format!(
            "Texts of 1 MiB on a tmpfs, each read whole and worked on, on as many threads natively as in the host \
             ({SOURCE}: one source for both). Whole processes less the median time of the same command over one of \
             them; {} repetitions, in turn. The component has WebAssembly's vector instructions. Natively the crate \
             `sha2` uses the CPU's own instructions for SHA-256 where there are any; the second native figure is the \
             same program without them. So what is between the two is the CPU's instructions, and what is between \
             the second and the component is the sandbox.",
            bench.repetitions()
        ),
    );
    let mut rows =
        vec![row(["Work", "Threads", "Component, MiB/s", "Native, MiB/s", "Component / native"])];
    let mut bars = vec![];
    for work in WORKS {
        let files = if bench.quick { work.files / 4 } else { work.files };
        let many = Workload::saying(bench, "cpu", files, &text)?;
        for threads in THREADS {
            note(&format!("{}, {threads} threads", work.name));
            let rates = work.rates(bench, &compute, [&one, &many], threads)?;
            let share = percent(&rates.task, &rates.native);
            rows.push(work.row(threads, "", &rates.task, &rates.native));
            let mut why = work.why.to_owned();
            if let Some(soft) = &rates.soft {
                rows.push(work.row(threads, ", native without the CPU's", &rates.task, soft));
                why +=
                    &format!("; of native without them it is {:.0} %", percent(&rates.task, soft));
            }
            report.goal(Goal {
                what: format!("{} of 1 MiB in a component, threads: {threads}", work.title),
                target: Target::AtLeast(GOAL),
                value: share,
                unit: "% of native",
                why,
            });
            if threads == 1 {
                bars.push(Bar::native(format!("{}, native", work.title), &rates.native));
                if let Some(soft) = &rates.soft {
                    bars.push(Bar::native(format!("{}, native, soft", work.title), soft));
                }
                bars.push(Bar::host(format!("{}, component", work.title), &rates.task));
            }
        }
        many.remove()?;
    }
    report.table(&rows);
    report.chart(&Chart {
        name: "cpu",
        title: "Work for the CPU, one thread",
        unit: "MiB/s",
        scale: Scale::Log,
        bars,
    });
    one.remove()
}

impl Work {
    fn rates(
        &self,
        bench: &Bench,
        compute: &Compute,
        [one, many]: [&Workload; 2],
        threads: usize,
    ) -> Result<Rates> {
        let work = self.name;
        let mut programs: Vec<Start> = vec![
            Box::new(|files| compute.native(work, files, threads)),
            Box::new(|files| compute.task(bench, work, files, threads)),
        ];
        if self.in_silicon {
            programs.push(Box::new(|files| compute.soft(work, files, threads)));
        }
        let mut expected = None;
        let check = || {
            let found = outputs(many)?;
            let expected = expected.get_or_insert_with(|| found.clone());
            ensure!(*expected == found, "the task and the native program differ over `{work}`");
            Ok(())
        };
        let mut rates = net::rates(&programs, one, many, bench.repetitions(), check)?.into_iter();
        let mut next = || rates.next();
        match (next(), next(), next()) {
            (Some(native), Some(task), soft) => Ok(Rates { task, native, soft }),
            _ => unreachable!("each program has a rate"),
        }
    }

    fn row(&self, threads: usize, kind: &str, task: &Sample, native: &Sample) -> Vec<String> {
        vec![
            format!("{}{kind}", self.title),
            threads.to_string(),
            task.shown(0),
            native.shown(0),
            format!("**{:.0} %**", percent(task, native)),
        ]
    }
}

/// All results, by the order of their names.
fn outputs(files: &Workload) -> Result<Vec<String>> {
    let file = |number: usize| files.output.join(format!("{number:07}.txt"));
    (0..files.files).map(|number| Ok(fs::read_to_string(file(number))?)).collect()
}
