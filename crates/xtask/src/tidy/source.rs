//! Rules for one file of Rust: it says what it is for, isn't too long, leaves nothing half done, and makes no SQL from
//! text.

use std::path::Path;

const LONGEST: usize = 600;
const LONGEST_TEST: usize = 800;

/// Where text becomes SQL, or looks like it: identifiers and literals can't be parameters of DDL.
const MAY_FORMAT_SQL: [&str; 11] = [
    "crates/pg/",
    "crates/provisioner/src/server.rs",
    "crates/provisioner/src/fence.rs",
    "crates/provisioner/src/removal.rs",
    "crates/provisioner/src/fleet/scratch.rs",
    "crates/provisioner/src/fleet/rehearsal.rs",
    "crates/provisioner/src/templates.rs",
    "crates/portero/src/commands/dev.rs",
    // It feeds a server in single-user mode, which takes no parameters: a password of its own making.
    "crates/devpg/src/initdb.rs",
    // It runs nothing: it advises people what to type.
    "crates/control/src/doctor/",
    // What `portero dev` does, for tests.
    "crates/testkit/",
];

/// Left behind by somebody who meant to come back. (Spelled so that this file doesn't have them.)
const HALF_DONE: [&str; 4] =
    [concat!("to", "do!("), concat!("unimpl", "emented!("), concat!("db", "g!("), concat!("#[", "ignore")];
const NOTES: [&str; 2] = [concat!("FIX", "ME"), concat!("XX", "X")];

/// Words that begin a statement, and words that are in one.
const VERBS: [&str; 18] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "GRANT", "REVOKE", "TRUNCATE",
    "COMMENT", "SET", "WITH", "LOCK", "NOTIFY", "LISTEN", "COPY", "REASSIGN",
];
const NOUNS: [&str; 12] = [
    "FROM",
    "WHERE",
    "INTO",
    "VALUES",
    "DATABASE",
    "ROLE",
    "SCHEMA",
    "TABLE",
    "INDEX",
    "FUNCTION",
    "JOIN",
    "RETURNING",
];

/// Complaints about one file, by its path from the root.
pub(super) fn check(file: &Path, text: &str) -> Vec<String> {
    let path = file.to_string_lossy();
    let mut complaints = Vec::new();
    if !text.starts_with("//!") {
        complaints.push(format!("{path}:1: begins without `//!`: say what the file is for"));
    }
    let (lines, longest) = (text.lines().count(), if is_test(&path) { LONGEST_TEST } else { LONGEST });
    if lines > longest {
        complaints.push(format!(
            "{path}: {lines} lines, and {longest} are the most: split it at its second subject"
        ));
    }
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(word) = half_done(line) {
            complaints.push(format!("{path}:{number}: `{word}`: finish it, or say in words what isn't done"));
        }
    }
    // A test plays operators and attackers too, who type what they like.
    if !is_test(&path) && !MAY_FORMAT_SQL.iter().any(|place| path.starts_with(place)) {
        complaints.extend(formatted_sql(text).into_iter().map(|number| {
            format!(
                "{path}:{number}: SQL by format!: values go by parameter, and what can't belongs in crates/pg"
            )
        }));
    }
    complaints
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("tests.rs")
}

/// Examples in docs may leave out what they aren't about.
fn half_done(line: &str) -> Option<&'static str> {
    let is_doc = line.trim_start().starts_with("//");
    let code = HALF_DONE.into_iter().find(|word| !is_doc && line.contains(word));
    code.or_else(|| NOTES.into_iter().find(|note| words(line).any(|word| word == *note)))
}

/// The lines on which a `format!` begins whose text is SQL.
fn formatted_sql(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(concat!("form", "at!(")) {
        let literal = literal_after(&text[at..]);
        if literal.is_some_and(is_sql) {
            found.push(text[..at].lines().count().max(1));
        }
    }
    found
}

/// The string literal that a macro's arguments begin with, raw or not.
fn literal_after(text: &str) -> Option<&str> {
    let arguments = text.split_once('(')?.1.trim_start();
    let raw = arguments.strip_prefix('r');
    let hashes = raw.map_or(0, |raw| raw.bytes().take_while(|byte| *byte == b'#').count());
    let body = raw.unwrap_or(arguments).get(hashes..)?.strip_prefix('"')?;
    if raw.is_some() {
        return body.split_once(&format!("\"{}", "#".repeat(hashes))).map(|(literal, _)| literal);
    }
    let mut escaped = false;
    let end = body.find(|c: char| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    body.get(..end?)
}

/// In capitals, as all SQL here is: a statement's verb with something to work on, or two of its other words.
fn is_sql(literal: &str) -> bool {
    let mut first = literal.split_whitespace();
    let begins = first.next().is_some_and(|word| VERBS.contains(&word));
    // `DELETE /api/v1/…` is a request.
    let has_object = first.next().is_some_and(|word| !word.starts_with('/'));
    let nouns = words(literal).filter(|word| NOUNS.contains(word)).count();
    let verbs = words(literal).filter(|word| VERBS.contains(word)).count();
    (begins && has_object) || nouns + verbs >= 2
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        check(Path::new(path), text)
    }

    #[test]
    fn a_file_says_what_it_is_for() {
        assert!(complaints("crates/a/src/lib.rs", "//! Rooms.\n").is_empty());
        assert!(complaints("crates/a/src/lib.rs", "use std::fs;\n")[0].contains("lib.rs:1: begins without"));
    }

    #[test]
    fn length_has_a_limit_and_tests_have_more() {
        let text = format!("//! Long.\n{}", "\n".repeat(700));
        assert!(complaints("crates/a/src/lib.rs", &text)[0].contains("701 lines, and 600"));
        for test in ["tests/it/main.rs", "crates/a/tests/it.rs", "crates/a/src/home_tests.rs"] {
            assert!(complaints(test, &text).is_empty(), "{test}");
        }
    }

    #[test]
    fn nothing_is_left_half_done() {
        for (line, expected) in [
            (concat!("    to", "do!();"), 1),
            (concat!("db", "g!(x);"), 1),
            (concat!("#[", "ignore = \"slow\"]"), 1),
            (concat!("// FIX", "ME: later"), 1),
            (concat!("let a = 1; // XX", "X"), 1),
            (concat!("/// let forged = Ctx { route: to", "do!() };"), 0),
            (concat!("\"portero.XX", "XXXX\""), 0),
            ("// gitignore", 0),
        ] {
            assert_eq!(
                complaints("crates/a/src/lib.rs", &format!("//! A.\n{line}\n")).len(),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn sql_is_not_made_from_text() {
        let call =
            |arguments: &str| format!("//! A.\nfn f() {{\n    {}({arguments}) }}\n", concat!("form", "at!"));
        for (arguments, expected) in [
            (r#""SELECT * FROM {table}""#, true),
            ("\n        \"DROP TABLE {}\", name", true),
            ("r#\"DELETE FROM \"users\" WHERE id = {id}\"#", true),
            (r#""{verb} ROLE {role} SET x""#, true),
            (r#""SET search_path = {schema}""#, true),
            (r#""with \"quotes\" FROM a WHERE b""#, true),
            (r#""DELETE /api/v1/users/{id}""#, false),
            (r#""PORTERO_DATABASE is not set""#, false),
            (r#""{name}: SELECT""#, false),
            (r#""Set the password of {name}""#, false),
            ("name", false),
        ] {
            let found = complaints("crates/a/src/lib.rs", &call(arguments));
            assert_eq!(found.len(), usize::from(expected), "{arguments}: {found:?}");
            assert!(found.iter().all(|one| one.contains("lib.rs:3: SQL")), "{found:?}");
            for place in ["crates/pg/src/quote.rs", "tests/it/roles.rs"] {
                assert!(complaints(place, &call(arguments)).is_empty(), "{place}");
            }
        }
    }
}
