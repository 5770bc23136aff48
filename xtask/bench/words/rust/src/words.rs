use std::collections::HashMap;
use std::fmt::Write;

pub fn count(text: &str) -> String {
    let mut words = 0;
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for word in text.split_ascii_whitespace() {
        words += 1;
        *counts.entry(word).or_default() += 1;
    }
    let mut top: Vec<(&str, u64)> = counts.into_iter().collect();
    top.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
    let mut out = format!("{words} {}\n", top.len());
    for (word, count) in top.iter().take(10) {
        writeln!(out, "{word} {count}").expect("text grows");
    }
    out
}
