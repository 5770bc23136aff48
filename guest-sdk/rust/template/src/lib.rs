//! A task: each input file becomes one output file.

use tigerflow_task::prelude::*;

/// What `setup` makes and every `run` reads.
struct Greeter {
    greeting: String,
}

/// The options of the command line.
#[derive(Params)]
struct Options {
    /// Words to put before each text
    #[param(default = "Hello")]
    greeting: String,
}

impl Task for Greeter {
    type Params = Options;

    fn setup(options: Options) -> Result<Self> {
        Ok(Greeter { greeting: options.greeting })
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let text = input.read_to_string()?;
        output.write(greet(&self.greeting, &text))
    }
}

export_task!(Greeter);

fn greet(greeting: &str, text: &str) -> String {
    format!("{greeting}, {}", text.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::greet;

    #[test]
    fn greets_in_upper_case() {
        assert_eq!(greet("Hello", "world\n"), "Hello, WORLD\n");
    }
}
