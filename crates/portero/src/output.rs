//! What commands print: calm and aligned for people, JSON for programs; and how they end.

#![expect(clippy::print_stderr, reason = "the one place that prints")]

use serde::Serialize;
use std::{
    borrow::Cow,
    fmt,
    io::{self, IsTerminal, Write},
};
use time::OffsetDateTime;

/// Where a command's answer goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read it.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// A line for people; nothing for programs.
    pub(crate) fn line(self, text: impl fmt::Display) {
        if !self.json {
            put(visible(&text.to_string()));
        }
    }

    /// What goes on, on the last line of a terminal, instead of what was there; nothing anywhere else.
    pub(crate) fn progress(self, text: &str) {
        let mut terminal = io::stderr();
        if !self.json && terminal.is_terminal() {
            let _ = write!(terminal, "\r\x1b[K{}", visible(text));
            let _ = terminal.flush();
        }
    }

    /// A word for whoever has just interrupted; on stderr, so that it is in nobody's way.
    pub(crate) fn notice(text: &str) {
        eprintln!("{text}");
    }

    /// The answer for programs; nothing for people.
    pub(crate) fn json(self, value: &impl Serialize) {
        if self.json {
            put(serde_json::to_string_pretty(value).expect("our own types are JSON"));
        }
    }

    /// Rows under a heading, each column as wide as its widest cell. Of a text with several lines the first is shown.
    pub(crate) fn table<const N: usize>(self, heading: [&str; N], rows: &[[String; N]]) {
        let width = |text: &str| text.chars().count();
        let shown = |row: &[String; N]| row.each_ref().map(|cell| visible(first_line(cell)).into_owned());
        let rows: Vec<[String; N]> = rows.iter().map(shown).collect();
        let mut widths = heading.map(width);
        for row in &rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(width(cell));
            }
        }
        let draw = |cells: [&str; N]| {
            let mut line = String::new();
            for (cell, widest) in cells.into_iter().zip(widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', widest - width(cell) + 2));
            }
            self.line(line.trim_end());
        };
        draw(heading);
        for row in &rows {
            draw(row.each_ref().map(String::as_str));
        }
    }

    /// Why a command failed, on stderr.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.json {
            let error = serde_json::json!({ "error": failure.to_string() });
            eprintln!("{error}");
        } else {
            eprintln!("{}", visible(&format!("portero: {failure}")));
        }
    }
}

/// The first line of a text: PostgreSQL's errors may have more.
pub(crate) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A text as a terminal may have it: what would move its cursor or change its colours is written out. Names and reasons are
/// other people's.
fn visible(text: &str) -> Cow<'_, str> {
    let hidden = |one: char| one.is_control() && !matches!(one, '\n' | '\t');
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for one in text.chars() {
        if hidden(one) {
            shown.extend(one.escape_default());
        } else {
            shown.push(one);
        }
    }
    Cow::Owned(shown)
}

/// A text whose second and further lines begin where the first does, so many letters from the left.
pub(crate) fn indented(text: &str, by: usize) -> String {
    text.lines().collect::<Vec<_>>().join(&format!("\n{:by$}", ""))
}

/// A moment, for people.
pub(crate) fn moment(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    let (hour, minute, second) = at.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02} UTC", at.date())
}

/// How a command ended badly.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It could not do what it should: exit code 1.
    Failed(anyhow::Error),
    /// It was called or set up wrongly: exit code 2.
    Usage(anyhow::Error),
}

impl Failure {
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::Usage(error.into())
    }

    /// The exit code.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) | Self::Usage(error) => write!(f, "{error:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// On stdout. Somebody who has closed it reads no more: nothing to fail for.
fn put(text: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(visible("a\u{1b}[2Jb\r\u{9b}c\u{7}"), "a\\u{1b}[2Jb\\r\\u{9b}c\\u{7}");
        let plain = "Söhne & Co,\tn.º 1\n  second line";
        assert!(matches!(visible(plain), Cow::Borrowed(same) if same == plain));
    }
}
