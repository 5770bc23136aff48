//! What `--watch` draws, and what its keys do.

use ratatui::Frame;
use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use tokio::signal::unix::SignalKind;

use super::figures::cut;
use super::gather::Snapshot;
use super::paint::plain;
use super::{Sections, text};

/// What is on the screen.
pub struct View {
    /// The pipeline, once it was looked at.
    pub last: Option<Snapshot>,
    /// The first line that is shown.
    scroll: usize,
    sections: Sections,
    colored: bool,
}

impl View {
    /// A screen that has nothing to show yet.
    pub fn new(sections: Sections, colored: bool) -> Self {
        View { last: None, scroll: 0, sections, colored }
    }

    /// Does what a key says. An exit code where it says to leave.
    pub fn take(&mut self, event: &Event, height: u16) -> Option<u8> {
        let Event::Key(key) = event else { return None };
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let page = usize::from(height.saturating_sub(2)).max(1);
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Some(128 + SignalKind::interrupt().as_raw_value() as u8);
            }
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => return Some(0),
            KeyCode::Down | KeyCode::Char('j') => self.scroll += 1,
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.scroll += page,
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(page),
            KeyCode::Home => self.scroll = 0,
            _ => {}
        }
        None
    }

    /// Draws what there is, as much as there is room for.
    pub fn draw(&mut self, frame: &mut Frame) {
        let area = frame.area();
        let width = usize::from(area.width);
        let mut lines = match &self.last {
            Some(snapshot) => text::lines(snapshot, &self.sections, width, false),
            None => vec![Line::raw("reading …")],
        };
        if !self.colored {
            lines = plain(lines);
        }
        // On a very small terminal every line counts.
        let footer = u16::from(area.height > 3);
        let room = usize::from(area.height - footer);
        self.scroll = self.scroll.min(lines.len().saturating_sub(room));
        let below = lines.len().saturating_sub(self.scroll + room);
        let body = Rect { height: area.height - footer, ..area };
        let shown: Vec<Line> = lines.into_iter().skip(self.scroll).take(room).collect();
        frame.render_widget(Paragraph::new(shown), body);
        if footer > 0 {
            let mut hint = "q leaves, the pipeline goes on".to_owned();
            if below > 0 || self.scroll > 0 {
                hint = format!("{below} more lines: arrows; {hint}");
            }
            let line = cut(&hint, width);
            let last = Rect { y: area.y + area.height - 1, height: 1, ..area };
            frame.render_widget(Paragraph::new(line), last);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Cell;
    use ratatui::crossterm::event::KeyEvent;

    use super::super::gather::{Gatherer, State};
    use super::super::{add_errors, sample};
    use super::*;

    fn view(dir: &Path) -> View {
        sample::write(dir);
        let mut snapshot = Gatherer::new(dir, true).unwrap().look().unwrap();
        add_errors(&mut snapshot, dir, 20).unwrap();
        snapshot.state = State::Running;
        View { last: Some(snapshot), scroll: 0, sections: Sections::ALL, colored: true }
    }

    fn drawn(view: &mut View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        cells.chunks(width.into()).map(|row| row.concat().trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn it_is_drawn_at_any_size() {
        let dir = tempfile::tempdir().unwrap();
        let mut view = view(dir.path());
        for (width, height) in [(1, 1), (5, 2), (20, 5), (40, 10), (80, 24), (200, 60), (80, 1)] {
            view.scroll = 0;
            let text = drawn(&mut view, width, height);
            assert_eq!(text.lines().count(), usize::from(height));
        }
        let small = drawn(&mut view, 20, 5);
        let lines: Vec<&str> = small.lines().collect();
        assert!(lines[0].starts_with("running: process"), "{small}");
        assert!(lines[1].contains('█') && lines[1].ends_with(" 83 %"), "{small}");
        assert_eq!(lines[2], "120/150, 3 failed");
        assert!(lines[4].contains("more lines"), "{small}");
        let large = drawn(&mut view, 120, 60);
        for wanted in ["tasks", "durations", "in flight", "ValueError: first", "q leaves"] {
            assert!(large.contains(wanted), "{wanted} in\n{large}");
        }
    }

    #[test]
    fn keys_scroll_and_leave() {
        let dir = tempfile::tempdir().unwrap();
        let mut view = view(dir.path());
        let press = |code| Event::Key(KeyEvent::new(code, KeyModifiers::NONE));
        let first = drawn(&mut view, 80, 10);
        assert_eq!(view.take(&press(KeyCode::PageDown), 10), None);
        let second = drawn(&mut view, 80, 10);
        assert_eq!(first.lines().nth(8), second.lines().next());
        for _ in 0..100 {
            view.take(&press(KeyCode::Down), 10);
        }
        assert!(drawn(&mut view, 80, 10).contains("0 more lines"));
        view.take(&press(KeyCode::Home), 10);
        assert_eq!(drawn(&mut view, 80, 10), first);
        assert_eq!(view.take(&press(KeyCode::Char('q')), 10), Some(0));
        assert_eq!(view.take(&press(KeyCode::Esc), 10), Some(0));
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(view.take(&Event::Key(ctrl_c), 10), Some(130));
        assert_eq!(view.take(&Event::Resize(20, 5), 5), None);
    }

    #[test]
    fn without_colours_there_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut view = view(dir.path());
        view.colored = false;
        let mut terminal = Terminal::new(TestBackend::new(80, 40)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let plain = |cell: &Cell| cell.style() == Cell::EMPTY.style();
        assert!(terminal.backend().buffer().content().iter().all(plain));
        view.last = None;
        assert!(drawn(&mut view, 80, 5).starts_with("reading …"));
    }
}
