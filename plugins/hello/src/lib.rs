//! The "Hello, World!" of TigerFlow's own page: puts a greeting before a text
//! and turns the text into upper case.

use tigerflow_task::prelude::*;

/// The context: what `setup` makes and every `run` reads.
struct Hello {
    greeting: String,
}

#[derive(Params)]
struct Options {
    /// Words to put before each text
    #[param(default = "Hello")]
    greeting: String,
}

impl Task for Hello {
    type Params = Options;

    fn setup(options: Options) -> Result<Self> {
        println!("Setup executed successfully!");
        Ok(Hello { greeting: options.greeting })
    }

    fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let content = input.read_to_string()?;
        output.write(greet(&self.greeting, &content))
    }

    fn teardown(self) -> Result<()> {
        println!("Teardown executed successfully!");
        Ok(())
    }
}

export_task!(Hello);

fn greet(greeting: &str, content: &str) -> String {
    format!("{greeting}, {}", content.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::greet;

    #[test]
    fn greets_in_upper_case() {
        assert_eq!(greet("Hello", "world\n"), "Hello, WORLD\n");
        assert_eq!(greet("Grüß", "straße"), "Grüß, STRASSE");
        assert_eq!(greet("Hello", ""), "Hello, ");
    }
}
