//! Colours: how lines look on a terminal, and without one.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::figures::cells;

/// What went well.
pub const GOOD: Style = Style::new().fg(Color::Green);
/// What did not.
pub const BAD: Style = Style::new().fg(Color::Red);
/// What is at work.
pub const BUSY: Style = Style::new().fg(Color::Yellow);
/// What matters less.
pub const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// A bar of exactly `width` columns: `█` done well, `×` failed, `–` aborted, `░` the rest.
pub fn bar([well, failed, aborted]: [usize; 3], total: usize, width: usize) -> [Span<'static>; 4] {
    let [well, failed, aborted] = cells([well, failed, aborted], total, width);
    let rest = width - well - failed - aborted;
    [
        Span::styled("█".repeat(well), GOOD),
        Span::styled("×".repeat(failed), BAD),
        Span::raw("–".repeat(aborted)),
        Span::styled("░".repeat(rest), DIM),
    ]
}

/// Lines as text, with colours or without.
pub fn render(lines: &[Line], colored: bool) -> String {
    let mut out = String::new();
    for line in lines {
        if !colored {
            out.push_str(line.to_string().trim_end());
        }
        for span in line.spans.iter().filter(|span| colored && !span.content.is_empty()) {
            match code(span.style) {
                Some(code) => out.push_str(&format!("\x1b[{code}m{}\x1b[0m", span.content)),
                None => out.push_str(&span.content),
            }
        }
        out.push('\n');
    }
    out
}

/// The same lines without colours.
pub fn plain(lines: Vec<Line<'static>>) -> Vec<Line<'static>> {
    lines.iter().map(|line| Line::raw(line.to_string())).collect()
}

fn code(style: Style) -> Option<u8> {
    match style.fg {
        Some(Color::Green) => Some(32),
        Some(Color::Red) => Some(31),
        Some(Color::Yellow) => Some(33),
        _ => style.add_modifier.contains(Modifier::DIM).then_some(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_its_width_and_shows_each_part() {
        let text = |parts, total, width| Line::from_iter(bar(parts, total, width)).to_string();
        assert_eq!(text([5, 1, 1], 10, 10), "█████×–░░░");
        assert_eq!(text([10, 0, 0], 10, 4), "████");
        assert_eq!(text([0, 0, 0], 0, 4), "░░░░");
        assert_eq!(text([1, 1, 1], 3, 0), "");
    }

    #[test]
    fn colours_are_left_out_where_they_are_not_wanted() {
        let line =
            Line::from(vec![Span::styled("a", BAD), Span::raw("b"), Span::styled("c ", DIM)]);
        assert_eq!(
            render(std::slice::from_ref(&line), true),
            "\x1b[31ma\x1b[0mb\x1b[2mc \x1b[0m\n"
        );
        assert_eq!(render(std::slice::from_ref(&line), false), "abc\n");
        assert_eq!(plain(vec![line])[0], Line::raw("abc "));
    }
}
