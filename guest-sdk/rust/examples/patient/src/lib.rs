use std::cell::Cell;
use std::time::Duration;

use tigerflow_task::prelude::*;
use tigerflow_task::time;

struct Patient {
    texts: Cell<u32>,
}

impl AsyncTask for Patient {
    type Params = ();

    async fn setup(_: ()) -> Result<Self> {
        Ok(Patient { texts: Cell::new(0) })
    }

    async fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let text = input.read_to_string()?;
        time::sleep(Duration::from_millis(100)).await;
        self.texts.set(self.texts.get() + 1);
        output.write(format!("{}. {text}", self.texts.get()))
    }
}

export_async_task!(Patient);

#[cfg(test)]
mod tests {
    use super::*;
    use tigerflow_task::testing::block_on;

    #[test]
    fn numbers_texts() {
        let directory = std::env::temp_dir().join(format!("patient-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (input, output) = (directory.join("a.txt"), directory.join("a.out"));
        std::fs::write(&input, "a text").unwrap();
        block_on(async {
            let task = Patient::setup(()).await?;
            task.run(&Input::new(input), &Output::new(&output)).await?;
            task.teardown().await
        })
        .unwrap();
        assert_eq!(std::fs::read_to_string(output).unwrap(), "1. a text");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
