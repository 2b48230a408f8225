//! Reading SQL as far as running it statement by statement needs: where one ends, and which make an index.
//!
//! Only as far as PostgreSQL's own scanner goes by quotes, comments and dollars. The body of a function is to be between
//! dollars or quotes: `BEGIN ATOMIC … END` is not understood.

/// The statements of a text, without the semicolons and the comments and blanks around them; none is empty.
pub(super) fn split(sql: &str) -> Vec<&str> {
    let bytes = sql.as_bytes();
    let (mut statements, mut from, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        if bytes[at] == b';' {
            statements.push(&sql[from..at]);
            from = at + 1;
            at += 1;
        } else {
            at += token(sql, at);
        }
    }
    statements.push(&sql[from..]);
    statements.into_iter().map(bare).filter(|statement| !statement.is_empty()).collect()
}

/// The statement that begins or ends a transaction, if this is one.
pub(super) fn transaction_control(statement: &str) -> Option<&'static str> {
    const CONTROL: [&str; 6] = ["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"];
    let first = words(statement, 3);
    let control = CONTROL.into_iter().find(|word| first.first().is_some_and(|first| first == word))?;
    // Of a savepoint, which is within.
    let within = control == "ROLLBACK" && first.iter().any(|word| word == "TO");
    (!within).then_some(control)
}

/// Whether a statement does its work CONCURRENTLY: it waits for others' transactions, and others don't wait for it.
pub(super) fn is_concurrent(statement: &str) -> bool {
    words(statement, 4).iter().any(|word| word == "CONCURRENTLY")
}

/// An index that is made CONCURRENTLY, each part as it is written.
pub(super) struct ConcurrentIndex<'a> {
    pub(super) is_unique: bool,
    /// Nothing where PostgreSQL is to find a name.
    pub(super) name: Option<&'a str>,
    /// The schema of its table with the dot after it, or nothing: an index is where its table is.
    pub(super) schema: &'a str,
    pub(super) table: &'a str,
    /// Everything after the table: method, columns, predicate.
    pub(super) rest: &'a str,
}

/// What a `CREATE INDEX CONCURRENTLY` makes.
pub(super) fn concurrent_index(statement: &str) -> Option<ConcurrentIndex<'_>> {
    let rest = word(statement, "CREATE")?;
    let unique = word(rest, "UNIQUE");
    let rest = word(word(unique.unwrap_or(rest), "INDEX")?, "CONCURRENTLY")?;
    let known = word(rest, "IF").and_then(|rest| word(rest, "NOT")).and_then(|rest| word(rest, "EXISTS"));
    let rest = known.unwrap_or(rest);
    let (name, rest) = match word(rest, "ON") {
        Some(_) => (None, rest),
        None => first(rest).map(|(name, rest)| (Some(name), rest))?,
    };
    let rest = word(rest, "ON")?;
    let whole = bare(word(rest, "ONLY").unwrap_or(rest));
    let (mut schema, (mut table, mut rest)) = ("", first(whole)?);
    while let Some(after) = word(rest, ".") {
        let after = bare(after);
        schema = &whole[..whole.len() - after.len()];
        (table, rest) = first(after)?;
    }
    Some(ConcurrentIndex { is_unique: unique.is_some(), name, schema, table, rest: bare(rest) })
}

/// The first token, and what follows it.
fn first(text: &str) -> Option<(&str, &str)> {
    let text = bare(text);
    (!text.is_empty()).then(|| text.split_at(token(text, 0).min(text.len())))
}

/// What follows this word, where the text begins with it.
fn word<'a>(text: &'a str, expected: &str) -> Option<&'a str> {
    let text = bare(text);
    let end = token(text, 0).min(text.len());
    text[..end].eq_ignore_ascii_case(expected).then(|| &text[end..])
}

/// Up to so many tokens from the beginning, in capitals.
fn words(text: &str, count: usize) -> Vec<String> {
    let (mut text, mut words) = (bare(text), Vec::new());
    while !text.is_empty() && words.len() < count {
        let end = token(text, 0).min(text.len());
        words.push(text[..end].to_ascii_uppercase());
        text = bare(&text[end..]);
    }
    words
}

/// Without blanks and comments before it, and without blanks after it.
fn bare(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        let skip = comment(text, 0);
        if skip == 0 {
            return text.trim_end();
        }
        text = &text[skip..];
    }
}

/// The length of whatever begins here and can't be cut: a comment, a quoted text, a word, or one character.
fn token(sql: &str, at: usize) -> usize {
    let rest = &sql[at..];
    let Some(first) = rest.chars().next() else { return 0 };
    let skip = comment(sql, at);
    if skip > 0 {
        return skip;
    }
    match first {
        '\'' => quoted(rest, '\'', false),
        '"' => quoted(rest, '"', false),
        '$' => dollars(rest),
        'e' | 'E' if rest[1..].starts_with('\'') => 1 + quoted(&rest[1..], '\'', true),
        _ if is_word(first) => rest.find(|c| !is_word(c) && c != '$').unwrap_or(rest.len()),
        _ => first.len_utf8(),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the comment that begins here; 0 where none does. Those with stars may be in each other.
fn comment(sql: &str, at: usize) -> usize {
    let rest = &sql[at..];
    if rest.starts_with("--") {
        return rest.find('\n').map_or(rest.len(), |end| end + 1);
    }
    if !rest.starts_with("/*") {
        return 0;
    }
    let (mut depth, mut end) = (0_usize, 0);
    while end < rest.len() {
        let here = &rest[end..];
        if here.starts_with("/*") {
            (depth, end) = (depth + 1, end + 2);
        } else if here.starts_with("*/") {
            (depth, end) = (depth - 1, end + 2);
        } else {
            end += here.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            return end;
        }
    }
    rest.len()
}

/// The length of what is between two of this quote, a doubled one being part of it.
fn quoted(rest: &str, quote: char, backslashes: bool) -> usize {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && backslashes {
            chars.next();
        } else if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at + quote.len_utf8();
        }
    }
    rest.len()
}

/// The length of what is between `$tag$` and `$tag$`; 1 where this is another dollar.
fn dollars(rest: &str) -> usize {
    let Some(close) = rest[1..].find('$').map(|at| at + 2) else { return 1 };
    let tag = &rest[..close];
    let inner = &tag[1..tag.len() - 1];
    if inner.starts_with(|c: char| c.is_ascii_digit()) || !inner.chars().all(is_word) {
        return 1;
    }
    rest[close..].find(tag).map_or(rest.len(), |at| close + at + tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_where_a_statement_ends() {
        for (sql, statements) in [
            ("", &[][..]),
            (" ; ;\n", &[]),
            ("-- only; a comment\n/* and; /* another; */ */", &[]),
            ("SELECT 1", &["SELECT 1"]),
            ("SELECT 1; SELECT 2;", &["SELECT 1", "SELECT 2"]),
            ("SELECT ';'; SELECT \";\"", &["SELECT ';'", "SELECT \";\""]),
            ("SELECT 'it''s;'; SELECT 2", &["SELECT 'it''s;'", "SELECT 2"]),
            (r"SELECT E'it\';'; SELECT 2", &[r"SELECT E'it\';'", "SELECT 2"]),
            (r"SELECT 'C:\'; SELECT 2", &[r"SELECT 'C:\'", "SELECT 2"]),
            ("SELECT $$;$$; SELECT $a_1$ $$;$b$ $a_1$;", &["SELECT $$;$$", "SELECT $a_1$ $$;$b$ $a_1$"]),
            (
                "PREPARE p AS SELECT $1;SELECT a$b$;SELECT c$b$",
                &["PREPARE p AS SELECT $1", "SELECT a$b$", "SELECT c$b$"],
            ),
            (
                "-- portero: no transaction\n-- why; so\nSELECT 1; -- after;\nSELECT 2",
                &["SELECT 1", "SELECT 2"],
            ),
            ("SELECT 1 -- a; b\n, 2; SELECT 3", &["SELECT 1 -- a; b\n, 2", "SELECT 3"]),
            ("SELECT 'ñ;ñ'; SELECT ñ", &["SELECT 'ñ;ñ'", "SELECT ñ"]),
            ("SELECT 'never closed; SELECT 2", &["SELECT 'never closed; SELECT 2"]),
        ] {
            assert_eq!(split(sql), statements, "{sql:?}");
        }
    }

    #[test]
    fn transactions_are_seen() {
        for (statement, expected) in [
            ("begin", Some("BEGIN")),
            ("/* a */ COMMIT AND CHAIN", Some("COMMIT")),
            ("start transaction", Some("START")),
            ("ROLLBACK", Some("ROLLBACK")),
            ("ROLLBACK TO SAVEPOINT a", None),
            ("ROLLBACK WORK TO a", None),
            ("SAVEPOINT a", None),
            ("DO $$ BEGIN NULL; END $$", None),
            ("SELECT 'COMMIT'", None),
            ("", None),
        ] {
            assert_eq!(transaction_control(statement), expected, "{statement}");
        }
    }

    #[test]
    fn an_index_that_is_made_concurrently_is_known_by_its_parts() {
        for (statement, expected) in [
            ("CREATE INDEX CONCURRENTLY a ON t (b)", Some((false, Some("a"), "", "t", "(b)"))),
            (
                "create unique index concurrently if not exists \"A b\" on \"a.b\"(lower(c)) where d > 1 -- why",
                Some((true, Some("\"A b\""), "", "\"a.b\"", "(lower(c)) where d > 1 -- why")),
            ),
            (
                "CREATE INDEX /* now */ CONCURRENTLY\n-- why\nusers_a ON ONLY public . t USING hash (b)",
                Some((false, Some("users_a"), "public . ", "t", "USING hash (b)")),
            ),
            ("CREATE INDEX CONCURRENTLY a ON d.s.t (b)", Some((false, Some("a"), "d.s.", "t", "(b)"))),
            ("CREATE INDEX CONCURRENTLY ON t (b)", Some((false, None, "", "t", "(b)"))),
            ("CREATE INDEX a ON t (b)", None),
            ("DROP INDEX CONCURRENTLY a", None),
            ("CREATE INDEX CONCURRENTLY", None),
            ("CREATE INDEX CONCURRENTLY a ON", None),
        ] {
            let index = concurrent_index(statement);
            let parts = index.map(|one| (one.is_unique, one.name, one.schema, one.table, one.rest));
            assert_eq!(parts, expected, "{statement}");
        }
        assert!(is_concurrent("DROP INDEX CONCURRENTLY a") && is_concurrent("REINDEX INDEX CONCURRENTLY a"));
        assert!(!is_concurrent("CREATE INDEX a ON concurrently (a)"));
    }
}
