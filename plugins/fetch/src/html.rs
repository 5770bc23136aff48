//! HTML as text: paragraphs on one line each, headings with `#`, items of lists
//! with `*` or a number, no links and no styles.

use html2text::config;
use html2text::render::{TextDecorator, TrivialDecorator};
use tigerflow_task::prelude::*;

/// Where a line is broken, in columns: only one that is longer than any
/// paragraph.
const WIDTH: usize = 10_000;

/// The text of a page of HTML.
///
/// # Errors
/// Where the page cannot be laid out.
pub fn readable(html: &str) -> Result<String> {
    let text = config::with_decorator(Plain(TrivialDecorator::new()))
        .no_table_borders()
        .string_from_read(html.as_bytes(), WIDTH)
        .context("the page cannot become text")?;
    let mut readable = String::with_capacity(text.len());
    for line in text.lines() {
        readable.push_str(line.trim_end());
        readable.push('\n');
    }
    Ok(readable)
}

/// What stands before and after pieces of text.
struct Plain(TrivialDecorator);

impl TextDecorator for Plain {
    type Annotation = ();

    fn header_prefix(&self, level: usize) -> String {
        "#".repeat(level) + " "
    }

    fn quote_prefix(&self) -> String {
        "> ".to_owned()
    }

    fn unordered_item_prefix(&self) -> String {
        "* ".to_owned()
    }

    fn ordered_item_prefix(&self, number: i64) -> String {
        format!("{number}. ")
    }

    fn make_subblock_decorator(&self) -> Self {
        Plain(self.0.make_subblock_decorator())
    }

    // The rest is nothing, as the decorator within has it.

    fn decorate_superscript_start(&self) -> (String, ()) {
        (String::new(), ())
    }

    fn decorate_superscript_end(&self) -> String {
        String::new()
    }

    fn decorate_link_start(&mut self, url: &str) -> (String, ()) {
        self.0.decorate_link_start(url)
    }

    fn decorate_link_end(&mut self) -> String {
        self.0.decorate_link_end()
    }

    fn decorate_em_start(&self) -> (String, ()) {
        self.0.decorate_em_start()
    }

    fn decorate_em_end(&self) -> String {
        self.0.decorate_em_end()
    }

    fn decorate_strong_start(&self) -> (String, ()) {
        self.0.decorate_strong_start()
    }

    fn decorate_strong_end(&self) -> String {
        self.0.decorate_strong_end()
    }

    fn decorate_strikeout_start(&self) -> (String, ()) {
        self.0.decorate_strikeout_start()
    }

    fn decorate_strikeout_end(&self) -> String {
        self.0.decorate_strikeout_end()
    }

    fn decorate_code_start(&self) -> (String, ()) {
        self.0.decorate_code_start()
    }

    fn decorate_code_end(&self) -> String {
        self.0.decorate_code_end()
    }

    fn decorate_preformat_first(&self) {}

    fn decorate_preformat_cont(&self) {}

    fn decorate_image(&mut self, source: &str, title: &str) -> (String, ()) {
        self.0.decorate_image(source, title)
    }
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn a_page_becomes_what_one_reads() {
        let page = "<!doctype html><title>T</title><style>x{}</style><script>y()</script>\
            <h1>Big &amp; small</h1><p>One\n   <b>bold</b> x<sup>2</sup> <a href=/z>link</a> <img alt=pic src=x>\
            <ul><li>a<li>b<ol><li>c</ol></ul><hr>\
            <table><tr><th>A<th>B<tr><td>1<td>2</table><blockquote>said</blockquote>\
            <pre>\n  pre\n    more</pre>last<br>line";
        assert_eq!(
            readable(page).unwrap(),
            "# Big & small\n\nOne bold x² link pic\n* a\n* b\n  1. c\n\nA B\n1 2\n\n> said\n\n  pre\n    more\n\nlast\nline\n"
        );
    }

    #[test]
    fn paragraphs_are_lines_and_an_empty_page_is_nothing() {
        let words = "word ".repeat(1000);
        assert_eq!(readable(&format!("<p>{words}")).unwrap().lines().count(), 1);
        assert_eq!(readable("").unwrap(), "");
        assert_eq!(readable("<script>x</script>").unwrap(), "");
        assert!(readable(&"<div>".repeat(2_000)).is_ok());
    }
}
