use proptest::prelude::*;

use super::super::yaml::{self, Node};
use super::super::*;
use super::{ALL_KEYS, GUIDE};

/// Every value of the tree, with its place.
fn scalars<'a>(node: &'a Node, found: &mut Vec<(&'a str, Position)>) {
    match &node.value {
        yaml::Value::Scalar { text, .. } => found.push((text, node.position)),
        yaml::Value::List(items) => items.iter().for_each(|item| scalars(item, found)),
        yaml::Value::Map(entries) => {
            for entry in entries {
                found.push((&entry.key, entry.position));
                scalars(&entry.value, found);
            }
        }
    }
}

/// The text from this place on.
fn at(text: &str, position: Position) -> String {
    let line = text.lines().nth(position.line - 1).unwrap_or_default();
    line.chars().skip(position.column - 1).collect()
}

#[test]
fn positions_point_at_the_text() {
    for text in [GUIDE.to_owned(), GUIDE.replace('\n', "\r\n"), format!("\u{feff}{GUIDE}")] {
        let root = yaml::read(&text, &mut Problems::default()).unwrap();
        let text = text.trim_start_matches('\u{feff}');
        let mut found = Vec::new();
        scalars(&root, &mut found);
        assert!(found.len() > 60);
        for (value, position) in found {
            let there = at(text, position);
            assert!(
                there.trim_start_matches('"').starts_with(value),
                "{value} {position}: {there}"
            );
        }
    }
}

/// What files are made of, to put anywhere.
const BITS: [&str; 33] = [
    "\t",
    "\n",
    " ",
    "  ",
    "- ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: ",
    "!",
    "!!int ",
    "|",
    ">",
    "'",
    "\"",
    "#",
    "0",
    "-1",
    "99999999999",
    "1.5",
    "true",
    "---\n",
    "...\n",
    "? ",
    "ü",
    "\u{feff}",
    "null",
    "%YAML",
    "\\",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_file_makes_it_panic(
        guide in any::<bool>(),
        edits in proptest::collection::vec((0..GUIDE.len(), 0usize..12, 0..BITS.len() + 1), 1..8)
    ) {
        let mut text = if guide { GUIDE.to_owned() } else { ALL_KEYS.to_owned() };
        for (place, length, bit) in edits {
            let start = text.floor_char_boundary(place.min(text.len()));
            let end = text.floor_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end, BITS.get(bit).unwrap_or(&""));
        }
        if let Err(problems) = parse(&text) {
            prop_assert!(!problems.is_empty());
            let lines = text.lines().count() + 1;
            for problem in problems.iter() {
                prop_assert!((1..=lines).contains(&problem.line), "{}\n{}", problem, text);
                prop_assert!(problem.column >= 1 && !problem.message.is_empty());
                prop_assert!(!problem.message.contains('\n'), "{}", problem);
                prop_assert!(!problem.message.contains(NOT_TAKEN), "{}", problem);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(.|\n){0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn a_key_anywhere_is_pointed_at(place in any::<prop::sample::Index>(), name in "[a-z]{12,14}") {
        let mut lines: Vec<String> = GUIDE.lines().map(str::to_owned).collect();
        // Before a key that is not the first of its mapping.
        let plain = |line: &str| line.contains(": ") && !line.contains(['-', '#']);
        let places: Vec<usize> = (0..lines.len()).filter(|line| plain(&lines[*line])).collect();
        let line = *place.get(&places);
        let indent = lines[line].len() - lines[line].trim_start().len();
        lines.insert(line, format!("{}{name}: 1", " ".repeat(indent)));
        let problems = parse(&lines.join("\n")).err().unwrap_or_default();
        if lines[line - 1].trim() == "params:" {
            prop_assert!(problems.is_empty(), "{}", problems);
        } else {
            prop_assert_eq!(problems.len(), 1, "{}", problems);
            let problem = problems.iter().next().unwrap();
            prop_assert_eq!((problem.line, problem.column), (line + 1, indent + 1));
            prop_assert!(problem.path.ends_with(&name), "{}", problem);
        }
    }
}
