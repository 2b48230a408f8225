//! The lint: what a migration would do to companies that are being served, read from its text before it runs anywhere.
//!
//! Two questions are asked of each statement. Does it lock a table for as long as the table is large? And does it take away
//! what the version before still uses, which serves while the migration runs and after it? The parser and most rules are
//! squawk's, which knows PostgreSQL's grammar; what it has no rule for is in [`rules`]. It reads text alone: it knows neither
//! how large a table is nor what code uses, and it doesn't look into the body of a `DO` block or a function.
//!
//! Whoever knows better says so in the file, with a reason:
//!
//! ```sql
//! -- portero: allow require-concurrent-index-creation: 40 rows in every tenant
//! CREATE INDEX plans_name ON plans (name);
//! ```
//!
//! That is for the next statement. `-- portero: contract: REASON` is for the whole file: it is the last step of a change, and no
//! code that serves uses any more what it takes away. `-- portero: no transaction` is the first line of a file that can't run in
//! one.

mod marks;
mod rules;

use marks::Marks;
use rules::{Group, Rated};
use serde::Serialize;
use squawk_linter::{Linter, Rule};
use squawk_syntax::{SourceFile, ast::AstNode};
use std::{collections::BTreeSet, ops::Range};

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It doesn't, unless the file allows it.
    Error,
    /// It does.
    Warning,
}

/// What is to be said of a place in a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Complaint {
    /// The migration: `V5__plans`.
    pub migration: String,
    /// The line in its text, from 1.
    pub line: usize,
    /// The rule, by the name that a comment allows it with.
    pub rule: String,
    /// Whether it stops a run.
    pub level: Level,
    /// What is the matter.
    pub found: String,
    /// What to do instead; empty where the rule doesn't say.
    pub advice: String,
    /// Why the file says that it is fine, if it does: then it stops nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
}

impl Complaint {
    /// Whether it stops a run.
    #[must_use]
    pub fn stops(&self) -> bool {
        self.level == Level::Error && self.allowed.is_none()
    }
}

/// Something that a rule found, before the file's marks are looked at.
struct Found {
    rule: String,
    level: Level,
    group: Group,
    at: Range<usize>,
    found: String,
    advice: String,
}

/// Reads a migration's text; says what there is to say of it, from top to bottom.
#[must_use]
pub fn lint(migration: &str, sql: &str) -> Vec<Complaint> {
    // squawk has marks of its own, which take no reason: they are made to mean nothing, and nothing moves by that.
    let text = sql.replace("squawk-", "squawk_");
    let parsed = SourceFile::parse(&text);
    let root = parsed.syntax_node();
    let statements: Vec<_> = parsed.tree().stmts().map(|statement| statement.syntax().clone()).collect();
    let places: Vec<_> = statements.iter().map(rules::place).collect();
    let marks = Marks::read(&root, &places);
    let mut found: Vec<Found> = squawk(&parsed, &text, marks.no_transaction);
    found.extend(statements.iter().flat_map(|statement| rules::look(statement, marks.no_transaction)));
    found.extend(parsed.errors().iter().map(|error| Found {
        rule: rules::SYNTAX.to_owned(),
        level: Level::Error,
        group: Group::Other,
        at: usize::from(error.range().start())..usize::from(error.range().end()),
        found: format!("not understood: {}", error),
        advice: "what follows was not looked at; PostgreSQL may understand it all the same".to_owned(),
    }));
    found.extend(marks.wrong.iter().map(|(at, why)| Found {
        rule: rules::MARK.to_owned(),
        level: Level::Error,
        group: Group::Other,
        at: at.clone(),
        found: why.clone(),
        advice: "write `-- portero: allow RULE: REASON`, `-- portero: contract: REASON`, or `-- portero: no transaction` as the first line".to_owned(),
    }));
    // An index that is made CONCURRENTLY is looked for by whoever runs the migration.
    let seen_to = |one: &Found| {
        one.rule == Rule::PreferRobustStmts.to_string()
            && statements.iter().any(|statement| {
                rules::place(statement).contains(&one.at.start) && rules::is_concurrent_index(statement)
            })
    };
    found.retain(|one| !seen_to(one));
    found.sort_by_key(|one| one.at.start);
    let mut told = BTreeSet::new();
    found.retain(|one| told.insert((one.at.start, one.rule.clone())));
    found.into_iter().map(|one| complaint(migration, sql, &marks, one)).collect()
}

fn squawk(parsed: &squawk_syntax::Parse<SourceFile>, text: &str, no_transaction: bool) -> Vec<Found> {
    let rated: Vec<Rated> = rules::SQUAWK
        .iter()
        .copied()
        .filter(|rated| no_transaction || !rated.only_without_transaction)
        .collect();
    let mut linter = Linter::from(rated.iter().map(|rated| rated.rule).collect::<Vec<Rule>>());
    linter.settings.assume_in_transaction = !no_transaction;
    let violations = linter.lint(parsed, text);
    let rating = |rule: Rule| rated.iter().find(|rated| rated.rule == rule);
    violations
        .into_iter()
        .filter_map(|violation| {
            let rated = rating(violation.code)?;
            Some(Found {
                rule: violation.code.to_string(),
                level: rated.level,
                group: rated.group,
                at: usize::from(violation.text_range.start())..usize::from(violation.text_range.end()),
                found: violation.message,
                advice: violation.help.unwrap_or_default(),
            })
        })
        .collect()
}

fn complaint(migration: &str, sql: &str, marks: &Marks, found: Found) -> Complaint {
    let allowed = marks.allow(&found.rule, found.at.start).or_else(|| match found.group {
        Group::Compatibility => marks.contract.clone(),
        Group::Locks | Group::Other => None,
    });
    let line = 1 + sql.as_bytes().iter().take(found.at.start).filter(|byte| **byte == b'\n').count();
    Complaint {
        migration: migration.to_owned(),
        line,
        rule: found.rule,
        level: found.level,
        found: found.found,
        advice: found.advice,
        allowed,
    }
}

#[cfg(test)]
mod tests;
