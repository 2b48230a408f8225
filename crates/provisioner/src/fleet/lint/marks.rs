//! What a migration says of itself in comments.

use squawk_syntax::{SyntaxKind, SyntaxNode};
use std::ops::Range;

const OURS: &str = "portero:";

/// What the comments of a file say.
pub(super) struct Marks {
    /// Its first line is `-- portero: no transaction`.
    pub(super) no_transaction: bool,
    /// Why it may take away what the version before used, if it says so.
    pub(super) contract: Option<String>,
    /// What is wrong with a mark, and where.
    pub(super) wrong: Vec<(Range<usize>, String)>,
    allowed: Vec<Allowed>,
}

/// What one comment allows.
struct Allowed {
    rules: Vec<String>,
    reason: String,
    /// The statement that it is for.
    within: Range<usize>,
}

impl Marks {
    /// Reads them. `statements` are the places of those, in order: a mark is for the one that it is in or before.
    pub(super) fn read(root: &SyntaxNode, statements: &[Range<usize>]) -> Self {
        let mut marks =
            Self { no_transaction: false, contract: None, wrong: Vec::new(), allowed: Vec::new() };
        for element in root.descendants_with_tokens() {
            let Some(token) = element.into_token().filter(|token| token.kind() == SyntaxKind::COMMENT) else {
                continue;
            };
            let start = usize::from(token.text_range().start());
            let place = start..usize::from(token.text_range().end());
            if let Some(mark) = body(token.text()).strip_prefix(OURS) {
                marks.take(mark.trim(), &place, statements);
            }
        }
        marks
    }

    fn take(&mut self, mark: &str, place: &Range<usize>, statements: &[Range<usize>]) {
        if mark == "no transaction" {
            if place.start == 0 {
                self.no_transaction = true;
            } else {
                self.wrong.push((
                    place.clone(),
                    "only the first line can say that there is no transaction".to_owned(),
                ));
            }
            return;
        }
        if let Some(reason) =
            mark.strip_prefix("contract:").map(str::trim).filter(|reason| !reason.is_empty())
        {
            self.contract = Some(reason.to_owned());
            return;
        }
        let allowed = mark.strip_prefix("allow ").and_then(|rest| rest.split_once(':'));
        let allowed =
            allowed.map(|(rules, reason)| (rules, reason.trim())).filter(|(_, reason)| !reason.is_empty());
        match allowed {
            None => self
                .wrong
                .push((place.clone(), format!("`portero: {mark}` says nothing, or gives no reason"))),
            Some((rules, reason)) => {
                let statement = statements.iter().find(|statement| statement.end > place.start);
                self.allowed.push(Allowed {
                    rules: rules.split(',').map(|rule| rule.trim().to_owned()).collect(),
                    reason: reason.to_owned(),
                    within: place.start..statement.map_or(place.end, |statement| statement.end),
                });
            }
        }
    }

    /// Why what a rule found here is fine, if a mark says so.
    pub(super) fn allow(&self, rule: &str, at: usize) -> Option<String> {
        let here = |allowed: &&Allowed| {
            allowed.within.contains(&at) && allowed.rules.iter().any(|known| known == rule)
        };
        self.allowed.iter().find(here).map(|allowed| allowed.reason.clone())
    }
}

fn body(comment: &str) -> &str {
    let line = comment.strip_prefix("--");
    let block = || comment.strip_prefix("/*").and_then(|rest| rest.strip_suffix("*/"));
    line.or_else(block).unwrap_or_default().trim()
}
