//! Figures as people read them: bars, sparklines, times and rates, texts that fit.

use std::time::Duration;

use ratatui::text::{Line, Span};

use crate::text::one_line;

/// The levels of a sparkline, from the lowest.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How many cells of a bar each part gets; those that no part has are left. All of them are
/// given away only when the parts make up the total. A part that is there has a cell where
/// another can spare one: one failure among a million is seen.
pub fn cells<const N: usize>(parts: [usize; N], total: usize, width: usize) -> [usize; N] {
    let total = total.max(parts.iter().sum());
    let mut cells = [0; N];
    if total == 0 {
        return cells;
    }
    let (mut sum, mut end) = (0, 0);
    for (part, cell) in parts.iter().zip(&mut cells) {
        sum += part;
        let next = (width as u128 * sum as u128 / total as u128) as usize;
        *cell = next - end;
        end = next;
    }
    let mut rest = width - end;
    for i in 0..N {
        if parts[i] == 0 || cells[i] > 0 {
            continue;
        }
        let largest = (0..N).max_by_key(|&i| cells[i]).unwrap_or_default();
        let from = if rest > cells[largest] { &mut rest } else { &mut cells[largest] };
        if *from > 1 {
            *from -= 1;
            cells[i] += 1;
        }
    }
    cells
}

/// Values as a row of blocks: the largest has the full height.
pub fn sparkline(values: &[f64]) -> String {
    let most = values.iter().copied().fold(0.0, f64::max);
    let level = |value: &f64| {
        let part = if most > 0.0 { value / most } else { 0.0 };
        LEVELS[((part * 8.0).ceil() as usize).clamp(1, 8) - 1]
    };
    values.iter().map(level).collect()
}

/// A duration in milliseconds: `3.25 ms`, `1.20 s`, `3m 5s`. At most 9 columns.
pub fn milliseconds(ms: f64) -> String {
    match ms {
        ..9.995 => format!("{ms:.2} ms"),
        ..99.95 => format!("{ms:.1} ms"),
        ..999.5 => format!("{ms:.0} ms"),
        ..9_995.0 => format!("{:.2} s", ms / 1000.0),
        ..119_950.0 => format!("{:.1} s", ms / 1000.0),
        _ => span(ms / 1000.0),
    }
}

/// A time span in seconds, by its two largest units: `12s`, `3m 5s`, `2days 4h`.
pub fn span(seconds: f64) -> String {
    // A century is more than anybody waits.
    let whole = Duration::from_secs(seconds.clamp(0.0, 3e9).round() as u64);
    let text = humantime::format_duration(whole).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A rate in files a second, in the unit in which it is a readable number.
pub fn rate(per_second: f64) -> String {
    match per_second {
        100.0.. => format!("{per_second:.0} files/s"),
        0.995.. => format!("{per_second:.1} files/s"),
        0.0995.. => format!("{per_second:.2} files/s"),
        0.0165.. => format!("{:.1} files/min", per_second * 60.0),
        0.0 => "0 files/s".into(),
        _ => format!("{:.1} files/h", per_second * 3600.0),
    }
}

/// A text on one line and in at most `width` columns, with `…` where it was cut.
pub fn cut(text: &str, width: usize) -> String {
    let text = one_line(text);
    if columns(&text) <= width {
        return text.into_owned();
    }
    let (mut kept, mut used) = (String::new(), 0);
    let mut buffer = [0; 4];
    for c in text.chars() {
        used += columns(c.encode_utf8(&mut buffer));
        if used >= width {
            break;
        }
        kept.push(c);
    }
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// A text of exactly `width` columns: cut, or filled up with blanks.
pub fn pad(text: &str, width: usize) -> String {
    let mut text = cut(text, width);
    text.extend(std::iter::repeat_n(' ', width.saturating_sub(columns(&text))));
    text
}

/// A line in at most `width` columns, with `…` where it was cut.
pub fn fit(line: Line<'static>, width: usize) -> Line<'static> {
    if line.width() <= width {
        return line;
    }
    let mut left = width;
    let mut spans = Vec::new();
    for span in line.spans {
        let needs = span.width();
        if needs < left {
            left -= needs;
            spans.push(span);
            continue;
        }
        // Something follows, or this one is too long: the mark tells so.
        let text = cut(&format!("{}  ", span.content), left);
        spans.push(Span::styled(text, span.style));
        break;
    }
    Line::from(spans)
}

/// How many columns a text takes.
pub fn columns(text: &str) -> usize {
    Span::raw(text).width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_only_when_all_is_done() {
        for width in 0..40 {
            for total in 0..60 {
                for done in 0..=total {
                    let failed = done / 7;
                    let cells = cells([done - failed, failed], total, width);
                    let sum = cells[0] + cells[1];
                    assert!(sum <= width);
                    if width > 0 && total > 0 {
                        assert_eq!(sum == width, done == total, "{done}/{total} in {width}");
                    }
                    if width > 2 && failed > 0 {
                        assert!(cells[1] > 0, "{done}/{total} in {width}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_bar_of_odd_figures_stays_within_its_width() {
        assert_eq!(cells([999_999, 1], 1_000_000, 10), [9, 1]);
        assert_eq!(cells([999_998, 1], 1_000_000, 10), [8, 1]);
        assert_eq!(cells([5, 5], 3, 10), [5, 5]);
        assert_eq!(cells([usize::MAX / 2, 0], usize::MAX, 10)[0], 4);
        assert_eq!(cells([1, 1, 1], 3, 0), [0, 0, 0]);
    }

    #[test]
    fn a_sparkline_has_a_block_for_each_value() {
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[0.0, 0.0]), "▁▁");
        assert_eq!(sparkline(&[1.0, 2.0, 4.0, 8.0]), "▁▂▄█");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(milliseconds(0.5), "0.50 ms");
        assert_eq!(milliseconds(999.7), "1.00 s");
        assert_eq!(milliseconds(185_000.0), "3m 5s");
        for ms in [0.0, 9.999, 99.96, 999.9, 9_999.0, 119_999.0, 3_599_000.0, 86_399_000.0] {
            assert!(columns(&milliseconds(ms)) <= 9, "{ms}: {}", milliseconds(ms));
        }
        assert_eq!(span(0.2), "0s");
        assert_eq!(span(2.0 * 86_400.0 + 4.0 * 3600.0 + 5.0), "2days 4h");
        assert_eq!(span(f64::INFINITY), span(3e9));
        assert_eq!(
            [rate(250.4), rate(12.34), rate(0.05), rate(0.001), rate(0.0)],
            ["250 files/s", "12.3 files/s", "3.0 files/min", "3.6 files/h", "0 files/s"]
        );
    }

    #[test]
    fn texts_fit_their_columns() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "long…");
        assert_eq!(cut("a\nb", 10), "a\\nb");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!((cut("ab", 1), cut("ab", 0)), ("…".into(), String::new()));
        assert_eq!(pad("日本語", 5), "日本…");
        assert_eq!(pad("日本語", 4), "日… ");
        let line = Line::from(vec![Span::raw("abc"), Span::raw("def"), Span::raw("g")]);
        assert_eq!(fit(line.clone(), 7).to_string(), "abcdefg");
        assert_eq!(fit(line.clone(), 6).to_string(), "abcde…");
        assert_eq!(fit(line, 3).to_string(), "ab…");
    }
}
