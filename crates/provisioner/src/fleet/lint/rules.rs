//! Which of squawk's rules are ours, how each is rated, and the rules that it doesn't have.
//!
//! What is a matter of taste (types, names, schemas) is left out, and so are timeouts: Portero sets them.

use super::{Found, Level};
use squawk_linter::Rule;
use squawk_syntax::{
    SyntaxKind, SyntaxNode,
    ast::{AddColumn, AstNode},
};
use std::ops::Range;

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// It would block companies for as long as a table is large.
    Locks,
    /// The version before may still use it: fine in a contract step.
    Compatibility,
    /// It would not do what it says.
    Other,
}

/// One of squawk's rules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rated {
    pub(super) rule: Rule,
    pub(super) level: Level,
    pub(super) group: Group,
    /// In a file that runs in a transaction it means nothing.
    pub(super) only_without_transaction: bool,
}

const fn rated(rule: Rule, level: Level, group: Group) -> Rated {
    Rated { rule, level, group, only_without_transaction: false }
}

/// Those of squawk's rules that are ours.
pub(super) const SQUAWK: [Rated; 20] = [
    rated(Rule::RequireConcurrentIndexCreation, Level::Error, Group::Locks),
    // It waits for others and then takes no time; `lock_timeout` is what keeps it from blocking.
    rated(Rule::RequireConcurrentIndexDeletion, Level::Warning, Group::Locks),
    rated(Rule::RequireConcurrentReindex, Level::Error, Group::Locks),
    rated(Rule::RequireConcurrentPartitionDetach, Level::Error, Group::Locks),
    rated(Rule::ConstraintMissingNotValid, Level::Error, Group::Locks),
    rated(Rule::AddingForeignKeyConstraint, Level::Error, Group::Locks),
    rated(Rule::DisallowedUniqueConstraint, Level::Error, Group::Locks),
    rated(Rule::AddingSerialPrimaryKeyField, Level::Error, Group::Locks),
    rated(Rule::AddingFieldWithDefault, Level::Error, Group::Locks),
    rated(Rule::AddingNotNullableField, Level::Error, Group::Locks),
    rated(Rule::ChangingColumnType, Level::Error, Group::Locks),
    rated(Rule::AddingRequiredField, Level::Error, Group::Compatibility),
    rated(Rule::BanDropColumn, Level::Error, Group::Compatibility),
    rated(Rule::BanDropTable, Level::Error, Group::Compatibility),
    rated(Rule::RenamingColumn, Level::Error, Group::Compatibility),
    rated(Rule::RenamingTable, Level::Error, Group::Compatibility),
    rated(Rule::BanDropNotNull, Level::Warning, Group::Compatibility),
    rated(Rule::BanTruncateCascade, Level::Error, Group::Other),
    rated(Rule::TransactionNesting, Level::Error, Group::Other),
    Rated {
        rule: Rule::PreferRobustStmts,
        level: Level::Error,
        group: Group::Other,
        only_without_transaction: true,
    },
];

/// The text is none that the parser knows.
pub(super) const SYNTAX: &str = "syntax";
/// A comment of ours that says nothing.
pub(super) const MARK: &str = "mark";

/// Where a statement is, without what is before it.
pub(super) fn place(statement: &SyntaxNode) -> Range<usize> {
    let range = statement.text_range();
    let first = statement.children_with_tokens().find(|child| !child.kind().is_trivia());
    let start = first.map_or(range.start(), |child| child.text_range().start());
    start.into()..range.end().into()
}

/// What our own rules find in a statement.
pub(super) fn look(statement: &SyntaxNode, no_transaction: bool) -> Vec<Found> {
    let kind = statement.kind();
    let has = |token: SyntaxKind| statement.descendants_with_tokens().any(|element| element.kind() == token);
    let mut found = Vec::new();
    let mut say = |rule: &str, level, group, what: &str, advice: &str| {
        found.push(Found {
            rule: rule.to_owned(),
            level,
            group,
            at: place(statement),
            found: what.to_owned(),
            advice: advice.to_owned(),
        });
    };
    if is_blocking_upkeep(kind, &has) {
        say(
            "blocking-upkeep",
            Level::Error,
            Group::Locks,
            "it rewrites tables, and nobody can read them meanwhile",
            "leave it to autovacuum, or do it by hand when nobody works",
        );
    }
    if kind == SyntaxKind::LOCK {
        say(
            "explicit-lock",
            Level::Error,
            Group::Locks,
            "it locks a table until the migration has ended",
            "lock rows, or nothing",
        );
    }
    if rewrites(statement) {
        say(
            "rewrites-the-table",
            Level::Error,
            Group::Locks,
            "it writes the whole table anew, and nobody can read it meanwhile",
            "add a column without a value, and fill it in parts; or make a table beside it",
        );
    }
    if kind == SyntaxKind::TRUNCATE {
        say(
            "takes-every-row",
            Level::Error,
            Group::Other,
            "it takes away every row of every company, and nobody can read the table meanwhile",
            "delete what is meant, in parts, from the application",
        );
    }
    if is_over_the_wire(statement) {
        say(
            "needs-a-client",
            Level::Error,
            Group::Other,
            "it reads from whoever runs it, or writes to them, and a migration has nobody there",
            "write rows with INSERT",
        );
    }
    if is_about_the_session(kind) {
        say(
            "session-setting",
            Level::Error,
            Group::Other,
            "it changes the session that migrations run in: how long it waits for locks, where it looks, or who it is",
            "leave it out: --lock-timeout says how long a lock is waited for, and names are looked up in public",
        );
    }
    if is_beyond_the_database(kind) {
        say(
            "beyond-the-database",
            Level::Error,
            Group::Other,
            "it is about the whole server, and would be done again for each company",
            "do it once, by hand",
        );
    }
    if !no_transaction && is_outside_only(kind, &has) {
        say(
            "needs-no-transaction",
            Level::Error,
            Group::Other,
            "PostgreSQL refuses it in a transaction",
            "put it into a file of its own whose first line is `-- portero: no transaction`",
        );
    }
    if is_whole_write(statement) {
        say(
            "whole-table-write",
            Level::Warning,
            Group::Locks,
            "it writes every row in one go: whoever changes one of them waits until the migration has ended",
            "do it in parts, from the application",
        );
    }
    if drops(kind) {
        say("drops-what-is-used", Level::Error, Group::Compatibility, TAKES_AWAY, EXPAND);
    } else if renames(kind) && has(SyntaxKind::RENAME_KW) {
        say("renames-what-is-used", Level::Error, Group::Compatibility, TAKES_AWAY, EXPAND);
    }
    if kind == SyntaxKind::DO {
        say(
            "unread-block",
            Level::Warning,
            Group::Other,
            "the body of a DO block is not looked into",
            "rehearse it",
        );
    }
    found
}

const TAKES_AWAY: &str = "the version before may still use what this takes away";
const EXPAND: &str = "add the new beside the old, let every process of the version before end, and take the old away in a later \
                      migration with `-- portero: contract: REASON`";

fn is_blocking_upkeep(kind: SyntaxKind, has: &impl Fn(SyntaxKind) -> bool) -> bool {
    match kind {
        SyntaxKind::CLUSTER => true,
        SyntaxKind::VACUUM => has(SyntaxKind::FULL_KW),
        SyntaxKind::REFRESH => !has(SyntaxKind::CONCURRENTLY_KW),
        _ => false,
    }
}

/// What squawk has no rule for: other storage, and a number for every row that is there.
fn rewrites(statement: &SyntaxNode) -> bool {
    let storage = [
        SyntaxKind::SET_LOGGED,
        SyntaxKind::SET_UNLOGGED,
        SyntaxKind::SET_ACCESS_METHOD,
        SyntaxKind::SET_TABLESPACE,
    ];
    statement.descendants().any(|node| storage.contains(&node.kind()) || adds_serial(node))
}

/// Whether it adds a column to a table that is there, with a number in each row from a sequence of its own.
fn adds_serial(node: SyntaxNode) -> bool {
    let serial = ["serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"];
    let Some(added) = AddColumn::cast(node).and_then(|column| column.ty()) else { return false };
    let added = added.syntax().text().to_string();
    serial.iter().any(|name| added.trim().eq_ignore_ascii_case(name))
}

fn is_over_the_wire(statement: &SyntaxNode) -> bool {
    let ends = [SyntaxKind::COPY_STDIN, SyntaxKind::COPY_STDOUT];
    statement.kind() == SyntaxKind::COPY && statement.descendants().any(|node| ends.contains(&node.kind()))
}

/// Settings and roles; constraints that are deferred are the transaction's own.
fn is_about_the_session(kind: SyntaxKind) -> bool {
    matches!(
        kind,
        SyntaxKind::SET
            | SyntaxKind::RESET
            | SyntaxKind::DISCARD
            | SyntaxKind::SET_ROLE
            | SyntaxKind::RESET_ROLE
            | SyntaxKind::SET_SESSION_AUTH
            | SyntaxKind::RESET_SESSION_AUTH
    )
}

fn is_beyond_the_database(kind: SyntaxKind) -> bool {
    matches!(
        kind,
        SyntaxKind::CREATE_DATABASE
            | SyntaxKind::ALTER_DATABASE
            | SyntaxKind::DROP_DATABASE
            | SyntaxKind::CREATE_ROLE
            | SyntaxKind::ALTER_ROLE
            | SyntaxKind::DROP_ROLE
            | SyntaxKind::ALTER_SYSTEM
    )
}

/// What PostgreSQL does only outside of a transaction.
fn is_outside_only(kind: SyntaxKind, has: &impl Fn(SyntaxKind) -> bool) -> bool {
    match kind {
        SyntaxKind::VACUUM => true,
        SyntaxKind::CREATE_INDEX | SyntaxKind::DROP_INDEX | SyntaxKind::REINDEX | SyntaxKind::ALTER_TABLE => {
            has(SyntaxKind::CONCURRENTLY_KW)
        }
        _ => false,
    }
}

/// An index that is made while others write.
pub(super) fn is_concurrent_index(statement: &SyntaxNode) -> bool {
    statement.kind() == SyntaxKind::CREATE_INDEX
        && statement.descendants_with_tokens().any(|element| element.kind() == SyntaxKind::CONCURRENTLY_KW)
}

fn is_whole_write(statement: &SyntaxNode) -> bool {
    matches!(statement.kind(), SyntaxKind::UPDATE | SyntaxKind::DELETE)
        && !statement.children().any(|child| child.kind() == SyntaxKind::WHERE_CLAUSE)
}

/// Tables and columns have rules of squawk's.
fn drops(kind: SyntaxKind) -> bool {
    matches!(
        kind,
        SyntaxKind::DROP_VIEW
            | SyntaxKind::DROP_MATERIALIZED_VIEW
            | SyntaxKind::DROP_FUNCTION
            | SyntaxKind::DROP_PROCEDURE
            | SyntaxKind::DROP_ROUTINE
            | SyntaxKind::DROP_AGGREGATE
            | SyntaxKind::DROP_TYPE
            | SyntaxKind::DROP_DOMAIN
            | SyntaxKind::DROP_SEQUENCE
            | SyntaxKind::DROP_SCHEMA
            | SyntaxKind::DROP_EXTENSION
    )
}

fn renames(kind: SyntaxKind) -> bool {
    matches!(
        kind,
        SyntaxKind::ALTER_VIEW
            | SyntaxKind::ALTER_MATERIALIZED_VIEW
            | SyntaxKind::ALTER_FUNCTION
            | SyntaxKind::ALTER_PROCEDURE
            | SyntaxKind::ALTER_ROUTINE
            | SyntaxKind::ALTER_TYPE
            | SyntaxKind::ALTER_DOMAIN
            | SyntaxKind::ALTER_SEQUENCE
            | SyntaxKind::ALTER_SCHEMA
    )
}
