//! The derives, as a task uses them.

use tigerflow_task::bindings::tigerflow::task::types::Argument;
use tigerflow_task::params::{Arguments, Parameter, ParameterKind, Value};
use tigerflow_task::prelude::*;

#[derive(Params, Debug)]
struct Options {
    /// How many words
    /// to list.
    ///
    /// More of it.
    #[param(default = 10)]
    top: u8,
    ignore_case: bool,
    /// Which words to leave out
    stop_words: Option<Language>,
    #[param(name = "project")]
    project_name: String,
    #[param(default = Language::LowGerman)]
    language: Language,
    #[param(default = "a b")]
    text: String,
    #[param(default = 0.5)]
    share: f64,
    r#type: Option<i64>,
}

#[derive(Choice, Debug, Clone, Copy, PartialEq)]
enum Language {
    English,
    LowGerman,
    #[choice(name = "français")]
    French,
}

fn parameters() -> Vec<Parameter> {
    Options::parameters()
}

fn from(arguments: &[(&str, Value)]) -> Result<Options> {
    let arguments = arguments
        .iter()
        .map(|(name, value)| Argument { name: (*name).to_owned(), value: value.clone() })
        .collect();
    Options::from_arguments(&mut Arguments::new(arguments))
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn the_description_follows_from_the_struct() {
    let all = parameters();
    let names: Vec<_> = all.iter().map(|parameter| &*parameter.name).collect();
    assert_eq!(
        names,
        ["top", "ignore-case", "stop-words", "project", "language", "text", "share", "type"]
    );
    let required: Vec<_> = all.iter().filter(|p| p.required).map(|p| &*p.name).collect();
    assert_eq!(required, ["project"]);
    assert_eq!(all[0].help, "How many words to list.");
    assert!(matches!(all[0].kind, ParameterKind::Integer));
    assert!(matches!(all[0].default, Some(Value::Integer(10))));
    assert!(matches!(all[1].default, Some(Value::Boolean(false))));
    assert!(all[2].default.is_none());
    let ParameterKind::Choice(names) = &all[2].kind else {
        panic!("not a choice: {:?}", all[2]);
    };
    assert_eq!(names, &["english", "low-german", "français"]);
    assert!(matches!(&all[4].default, Some(Value::Text(name)) if name == "low-german"));
}

#[test]
fn values_and_defaults_arrive() {
    let options = from(&[("project", text("p"))]).unwrap();
    assert_eq!((options.top, options.ignore_case), (10, false));
    assert_eq!((options.stop_words, options.language), (None, Language::LowGerman));
    assert_eq!((&*options.text, options.share, options.r#type), ("a b", 0.5, None));

    let options = from(&[
        ("project", text("p")),
        ("top", Value::Integer(255)),
        ("ignore-case", Value::Boolean(true)),
        ("stop-words", text("français")),
        ("share", Value::Integer(2)),
        ("type", Value::Integer(-1)),
    ])
    .unwrap();
    assert_eq!((options.top, options.ignore_case), (255, true));
    assert_eq!(options.stop_words, Some(Language::French));
    assert_eq!((options.share, options.r#type), (2.0, Some(-1)));
    assert_eq!(options.project_name, "p");
    assert_eq!(Language::French.name(), "français");
}

#[test]
fn what_does_not_fit_is_named() {
    let error = from(&[]).unwrap_err();
    assert_eq!(error.kind(), "MissingParameter");
    assert_eq!(error.message(), "the parameter `project` is missing; give `--project`");
    let error = from(&[("top", Value::Integer(256))]).unwrap_err();
    assert_eq!(error.kind(), "InvalidParameter");
    assert_eq!(error.message(), "the parameter `top` must be from 0 to 255, not 256");
    let error = from(&[("top", text("x"))]).unwrap_err();
    assert_eq!(error.message(), "the parameter `top` must be a whole number, not `x`");
    let error = from(&[("project", text("p")), ("language", text("x"))]).unwrap_err();
    assert_eq!(
        error.message(),
        "the parameter `language` must be one of english, low-german, français, not `x`"
    );
}
