//! The counting itself.
//!
//! Words and sentences end where Unicode says (UAX #29), so `can't` is one
//! word, `3.14` too, and text without spaces between words is still split as
//! well as that can be done without a dictionary.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use serde::Serialize;
use unicode_segmentation::UnicodeSegmentation;

/// What counts as which word, and which words are listed.
pub struct Rules {
    top: usize,
    min_length: usize,
    skip: HashSet<String>,
    case_sensitive: bool,
}

impl Rules {
    /// `skip` holds words with commas between.
    pub fn new(top: u32, min_length: u32, skip: &str, case_sensitive: bool) -> Self {
        let mut rules = Self {
            top: top as usize,
            min_length: min_length as usize,
            skip: HashSet::new(),
            case_sensitive,
        };
        rules.skip = skip
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(|word| rules.normal(word).into_owned())
            .collect();
        rules
    }

    /// The form that stands for all forms of a word.
    fn normal<'a>(&self, word: &'a str) -> Cow<'a, str> {
        // Most words of most texts are in lower case already.
        if self.case_sensitive || word.bytes().all(|byte| byte.is_ascii_lowercase()) {
            Cow::Borrowed(word)
        } else {
            Cow::Owned(word.to_lowercase())
        }
    }

    fn lists(&self, word: &Word<'_>) -> bool {
        word.characters >= self.min_length && !self.skip.contains(&*word.text)
    }
}

/// What a text consists of.
#[derive(Debug, Serialize, PartialEq)]
pub struct Statistics<'a> {
    bytes: usize,
    /// Unicode's code points.
    characters: usize,
    lines: usize,
    sentences: usize,
    words: usize,
    unique_words: usize,
    /// In characters, to two places; 0 where there are no words.
    average_word_length: f64,
    longest_line: Option<LongestLine>,
    top_words: Vec<Word<'a>>,
}

/// The first of the lines that no other is longer than.
#[derive(Debug, Serialize, PartialEq)]
struct LongestLine {
    /// From 1.
    line: usize,
    characters: usize,
}

#[derive(Debug, Serialize, PartialEq)]
struct Word<'a> {
    #[serde(rename = "word")]
    text: Cow<'a, str>,
    count: usize,
    #[serde(skip)]
    characters: usize,
}

/// Counts.
pub fn statistics<'a>(text: &'a str, rules: &Rules) -> Statistics<'a> {
    let bytes = text.len();
    // Editors of some systems mark UTF-8 so; it is no part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);

    let mut words = 0;
    let mut letters = 0;
    let mut counts: HashMap<Cow<'a, str>, usize> = HashMap::new();
    for word in text.unicode_words() {
        words += 1;
        letters += word.chars().count();
        *counts.entry(rules.normal(word)).or_default() += 1;
    }
    let unique_words = counts.len();

    Statistics {
        bytes,
        characters: text.chars().count(),
        lines: text.lines().count(),
        sentences: sentences(text),
        words,
        unique_words,
        average_word_length: ratio(letters, words),
        longest_line: longest_line(text),
        top_words: top_words(counts, rules),
    }
}

/// Sentences go on over the ends of lines, and end with their paragraph. (To
/// Unicode each line of a hard-wrapped text is a paragraph of its own.)
fn sentences(text: &str) -> usize {
    let mut sentences = 0;
    let mut paragraph = String::new();
    for line in text.lines().chain([""]) {
        let line = line.trim();
        if line.is_empty() {
            sentences += paragraph.unicode_sentences().count();
            paragraph.clear();
        } else {
            paragraph.push_str(line);
            paragraph.push(' ');
        }
    }
    sentences
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    (part as f64 / whole as f64 * 100.0).round() / 100.0
}

fn longest_line(text: &str) -> Option<LongestLine> {
    text.lines()
        .enumerate()
        .map(|(index, line)| LongestLine { line: index + 1, characters: line.chars().count() })
        .max_by_key(|line| (line.characters, Reverse(line.line)))
}

/// The most frequent words; those of one count by the alphabet, so that one
/// text always gives one result.
fn top_words<'a>(counts: HashMap<Cow<'a, str>, usize>, rules: &Rules) -> Vec<Word<'a>> {
    let mut words: Vec<_> = counts
        .into_iter()
        .map(|(text, count)| Word { characters: text.chars().count(), text, count })
        .filter(|word| rules.lists(word))
        .collect();
    words.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.text.cmp(&b.text)));
    words.truncate(rules.top);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "The cat can't see the Café.\nIt sees 3.14 cats!\n\nStraße.";

    fn top(text: &str, rules: &Rules) -> Vec<(String, usize)> {
        statistics(text, rules)
            .top_words
            .into_iter()
            .map(|word| (word.text.into_owned(), word.count))
            .collect()
    }

    #[test]
    fn counts_as_unicode_does() {
        let all = statistics(TEXT, &Rules::new(1, 1, "", false));
        assert_eq!(all.bytes, TEXT.len());
        assert_eq!(all.characters, TEXT.chars().count());
        assert_eq!((all.lines, all.sentences), (4, 3));
        // The cat can't see the Café | It sees 3.14 cats | Straße
        assert_eq!((all.words, all.unique_words), (11, 10));
        assert_eq!(all.average_word_length, 3.73);
        assert_eq!(all.longest_line, Some(LongestLine { line: 1, characters: 27 }));
    }

    #[test]
    fn lists_the_most_frequent_words() {
        let rules = Rules::new(3, 1, "", false);
        let words = [("the", 2), ("3.14", 1), ("café", 1)];
        assert_eq!(top(TEXT, &rules), words.map(|(word, n)| (word.to_owned(), n)));

        let rules = Rules::new(2, 4, "café, CATS", false);
        let words = [("3.14", 1), ("can't", 1)];
        assert_eq!(top(TEXT, &rules), words.map(|(word, n)| (word.to_owned(), n)));

        let rules = Rules::new(1, 1, "", true);
        assert_eq!(top("The the the THE", &rules), [("the".to_owned(), 2)]);
        assert!(top(TEXT, &Rules::new(0, 1, "", false)).is_empty());
    }

    #[test]
    fn an_empty_text_has_nothing() {
        for text in ["", "\u{feff}"] {
            let all = statistics(text, &Rules::new(10, 1, "", false));
            assert_eq!((all.characters, all.lines, all.words), (0, 0, 0));
            assert_eq!(all.average_word_length, 0.0);
            assert_eq!(all.longest_line, None);
        }
    }

    #[test]
    fn sentences_go_on_over_lines_but_not_over_paragraphs() {
        assert_eq!(sentences("It goes\non here. And\r\nends there.\n"), 2);
        assert_eq!(sentences("A title\n \nA sentence"), 2);
        assert_eq!(sentences("\n\n"), 0);
    }

    #[test]
    fn of_equal_lines_the_first_is_the_longest() {
        let all = statistics("ab\ncd\r\n", &Rules::new(10, 1, "", false));
        assert_eq!(all.longest_line.unwrap().line, 1);
        assert_eq!(all.lines, 2);
    }
}
