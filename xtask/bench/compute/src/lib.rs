use tigerflow_task::prelude::*;

mod work;

struct Compute(Options);

#[derive(Choice)]
enum Work {
    Fnv1a,
    Words,
    Sha256,
    /// A stream in upper case
    Upper,
}

#[derive(Params)]
struct Options {
    /// What to do with each file
    work: Work,
}

impl Task for Compute {
    type Params = Options;

    fn setup(options: Options) -> Result<Self> {
        Ok(Compute(options))
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        match self.0.work {
            Work::Fnv1a => output.write(work::fnv1a(&input.read()?)),
            Work::Words => output.write(work::words(&input.read_to_string()?)),
            Work::Sha256 => output.write(work::sha256(&input.read()?)),
            Work::Upper => Ok(work::upper(&mut input.open()?, &mut output.create()?)?),
        }
    }
}

export_task!(Compute);
