//! The shape of a language's table, and the ways to look words up in it by code.

use super::console::ConsoleWords;
use super::{
    Breaker, CheckoutPath, Field, LoginState, Notice, Problem, Role, SlotState, StepKey, StepStatus, Trouble,
    Way,
};

/// A fragment with something put into it.
type With = fn(&str) -> String;
/// A fragment with two texts in it.
type WithTexts = fn(&str, &str) -> String;
/// A fragment with two numbers in it.
type WithTwo = fn(usize, usize) -> String;

/// Every visible word of one language.
#[derive(Debug)]
pub struct Words {
    /// On more than one page.
    pub common: Common,
    /// The front page.
    pub landing: LandingWords,
    /// The sign-up form.
    pub signup: SignupWords,
    /// The pages of a sign-up that a mail confirms, and the mail.
    pub confirm: ConfirmWords,
    /// The mailbox of development.
    pub mailbox: MailboxWords,
    /// The page that shows a company being set up.
    pub progress: ProgressWords,
    /// The log-in page.
    pub login: LoginWords,
    /// The operators' log-in page.
    pub operators: OperatorsWords,
    /// A company's own front page.
    pub home: HomeWords,
    /// The operators' picture of connections.
    pub budget: BudgetWords,
    /// The operators' console.
    pub console: &'static ConsoleWords,
    /// Why a value was refused.
    pub refusals: RefusalWords,
    pub(super) problem: fn(Problem) -> ProblemWords,
    pub(super) step: fn(StepKey) -> &'static str,
    pub(super) step_status: fn(StepStatus) -> &'static str,
    pub(super) role: fn(Role) -> &'static str,
    pub(super) notice: fn(Notice) -> &'static str,
    pub(super) trouble: fn(Trouble) -> &'static str,
    pub(super) login_state: fn(LoginState) -> Option<&'static str>,
    pub(super) way: fn(Way) -> &'static str,
    pub(super) breaker: fn(Breaker) -> &'static str,
    pub(super) checkout_path: fn(CheckoutPath) -> &'static str,
    pub(super) slot: fn(SlotState) -> &'static str,
    pub(super) months: [&'static str; 12],
}

/// A message page's words.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names say where the words stand")]
pub struct ProblemWords {
    pub title: &'static str,
    pub text: &'static str,
}

/// Words of more than one page.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say where the words stand")]
pub struct Common {
    pub skip: &'static str,
    pub language: &'static str,
    pub tagline: &'static str,
    pub served_by: &'static str,
    pub error_prefix: &'static str,
    pub fix_below: &'static str,
    pub email: &'static str,
    pub password: &'static str,
    pub show_password: &'static str,
    pub hide_password: &'static str,
    pub password_rules: &'static str,
    pub request_id: &'static str,
}

/// Words of the front page.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say where the words stand")]
pub struct LandingWords {
    pub title: &'static str,
    pub headline: &'static str,
    pub headline_second: &'static str,
    pub lead: &'static str,
    pub sign_up: &'static str,
    pub sign_up_note: &'static str,
    pub example: &'static str,
    pub points_title: &'static str,
    pub address_title: &'static str,
    pub address_text: &'static str,
    pub database_title: &'static str,
    pub database_text: &'static str,
    pub people_title: &'static str,
    pub people_text: &'static str,
    pub find_title: &'static str,
    pub find_text: &'static str,
    pub find_label: &'static str,
    pub find_button: &'static str,
}

/// Words of the sign-up form.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say where the words stand")]
pub struct SignupWords {
    pub title: &'static str,
    pub lead: &'static str,
    pub company: &'static str,
    pub company_hint: &'static str,
    pub subdomain: &'static str,
    pub subdomain_hint: &'static str,
    pub address: &'static str,
    pub example: &'static str,
    pub email_hint: &'static str,
    pub submit: &'static str,
    pub submit_note: &'static str,
    pub confirm_note: &'static str,
    pub invited: &'static str,
    pub checking: &'static str,
    pub available: &'static str,
}

/// Words of the pages of a sign-up that a mail confirms, and of the mail.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say where the words stand")]
pub struct ConfirmWords {
    pub sent_title: &'static str,
    pub sent_text: &'static str,
    pub sent_hint: &'static str,
    pub sent_again: &'static str,
    pub title: With,
    pub text: &'static str,
    pub submit: &'static str,
    pub not_you: &'static str,
    pub busy: &'static str,
    pub subject: With,
    pub greeting: &'static str,
    pub asked: With,
    pub asked_for: WithTexts,
    pub press: &'static str,
    pub button: &'static str,
    pub lasts: fn(u64) -> String,
    pub ignore: &'static str,
}

/// Words of the mailbox of development.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say where the words stand")]
pub struct MailboxWords {
    pub title: &'static str,
    pub lead: &'static str,
    pub none: &'static str,
    pub to: &'static str,
    pub subject: &'static str,
    pub written: &'static str,
    pub back: &'static str,
    pub text: &'static str,
    pub html: &'static str,
    pub erased: &'static str,
}

/// Words of the page that shows a company being set up.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say where the words stand")]
pub struct ProgressWords {
    pub running_title: With,
    pub running_text: &'static str,
    pub undoing_text: &'static str,
    pub done_title: With,
    pub done_text: &'static str,
    pub failed_title: With,
    pub failed_text: &'static str,
    pub steps: &'static str,
    pub enter: &'static str,
    pub try_again: &'static str,
    pub job_id: &'static str,
}

/// Words of the log-in page.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say where the words stand")]
pub struct LoginWords {
    pub title: &'static str,
    pub lead: With,
    pub submit: &'static str,
    pub help: &'static str,
}

/// Words of the operators' log-in page.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say where the words stand")]
pub struct OperatorsWords {
    pub title: &'static str,
    pub lead: &'static str,
    pub token: &'static str,
    pub submit: &'static str,
    pub help: &'static str,
    pub refused: &'static str,
    pub too_many: &'static str,
}

/// Words of a company's own front page.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say where the words stand")]
pub struct HomeWords {
    pub people: &'static str,
    pub people_admin_text: &'static str,
    pub people_member_text: &'static str,
    pub log_out: &'static str,
    pub you: &'static str,
    pub role: &'static str,
    pub status: &'static str,
    pub active: &'static str,
    pub disabled: &'static str,
    pub created: &'static str,
    pub actions: &'static str,
    pub make_admin: &'static str,
    pub make_member: &'static str,
    pub disable: &'static str,
    pub enable: &'static str,
    pub last_admin: &'static str,
    pub more: &'static str,
    pub add_title: &'static str,
    pub add_text: &'static str,
    pub add_submit: &'static str,
}

/// Words of the operators' picture of connections. `portero server show` has those on leases, too.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say where the words stand")]
pub struct BudgetWords {
    pub title: &'static str,
    pub lead: &'static str,
    pub pause: &'static str,
    pub resume: &'static str,
    pub away: &'static str,
    pub none: &'static str,
    pub not_asked: &'static str,
    /// What this router may hold, of what all may.
    pub sum: WithTwo,
    pub rest_unknown: &'static str,
    /// Requests that wait, and the companies they are of.
    pub waiting: WithTwo,
    pub checkouts: &'static str,
    pub way: &'static str,
    pub requests: &'static str,
    pub median: &'static str,
    pub p99: &'static str,
    pub top: &'static str,
    pub top_none: &'static str,
    pub company: &'static str,
    pub waiting_column: &'static str,
    pub leases: &'static str,
    pub leases_none: &'static str,
    pub no_registry: &'static str,
    pub open: &'static str,
    pub granted: &'static str,
    pub other: &'static str,
    pub this_router: &'static str,
    /// Connections open, of those granted.
    pub used_of: WithTwo,
    pub silent: &'static str,
}

/// Why a value was refused. `{}` takes a number of characters.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are the codes")]
pub struct RefusalWords {
    pub required: &'static str,
    pub too_short: &'static str,
    pub too_long: &'static str,
    pub unprintable: &'static str,
    pub not_a_label: &'static str,
    pub reserved: &'static str,
    pub taken: &'static str,
    pub email_taken: &'static str,
    pub not_an_email: &'static str,
    pub too_common: &'static str,
    pub not_allowed: &'static str,
    pub unknown: &'static str,
}

impl Words {
    /// Title and text of a message page.
    #[must_use]
    pub fn problem(&self, problem: Problem) -> ProblemWords {
        (self.problem)(problem)
    }

    /// What a step is called.
    #[must_use]
    pub fn step(&self, step: StepKey) -> &'static str {
        (self.step)(step)
    }

    /// What a step's status is called.
    #[must_use]
    pub fn step_status(&self, status: StepStatus) -> &'static str {
        (self.step_status)(status)
    }

    /// What a role is called.
    #[must_use]
    pub fn role(&self, role: Role) -> &'static str {
        (self.role)(role)
    }

    /// What happened on the page before.
    #[must_use]
    pub fn notice(&self, notice: Notice) -> &'static str {
        (self.notice)(notice)
    }

    /// Why a sign-up can't go on.
    #[must_use]
    pub fn trouble(&self, trouble: Trouble) -> &'static str {
        (self.trouble)(trouble)
    }

    /// What the log-in page has to say, if anything.
    #[must_use]
    pub fn login_state(&self, state: LoginState) -> Option<&'static str> {
        (self.login_state)(state)
    }

    /// The words on a message page's button.
    #[must_use]
    pub fn way(&self, way: Way) -> &'static str {
        (self.way)(way)
    }

    /// Whether a server is used.
    #[must_use]
    pub fn breaker(&self, breaker: Breaker) -> &'static str {
        (self.breaker)(breaker)
    }

    /// How a request came by its connection.
    #[must_use]
    pub fn checkout_path(&self, path: CheckoutPath) -> &'static str {
        (self.checkout_path)(path)
    }

    /// What a connection is doing.
    #[must_use]
    pub fn slot(&self, state: SlotState) -> &'static str {
        (self.slot)(state)
    }

    /// Why a field's value was refused, by the refusal's code. `limit` is the number of characters that
    /// `too-short` and `too-long` speak of; other codes don't look at it.
    #[must_use]
    pub fn refusal(&self, field: Field, code: &str, limit: usize) -> String {
        let words = &self.refusals;
        let text = match (code, field) {
            ("required", _) => words.required,
            ("too-short", _) => words.too_short,
            ("too-long", _) => words.too_long,
            ("unprintable", _) => words.unprintable,
            ("not-a-label", _) => words.not_a_label,
            ("reserved", _) => words.reserved,
            ("taken", Field::Email) => words.email_taken,
            ("taken", _) => words.taken,
            ("not-an-email", _) => words.not_an_email,
            ("too-common", _) => words.too_common,
            ("not-allowed", _) => words.not_allowed,
            _ => words.unknown,
        };
        text.replace("{}", &limit.to_string())
    }

    /// The day of an RFC 3339 text in UTC, as people write it: `31 ene 2026`. What isn't one comes back as it is.
    #[must_use]
    pub fn day(&self, rfc3339: &str) -> String {
        let date = rfc3339.split('T').next().unwrap_or_default();
        let mut parts = date.splitn(3, '-').map(str::parse::<usize>);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(Ok(year)), Some(Ok(month @ 1..=12)), Some(Ok(day @ 1..=31))) => {
                format!("{day} {} {year}", self.months[month - 1])
            }
            _ => rfc3339.to_owned(),
        }
    }
}

impl Words {
    /// The moment of an RFC 3339 text in UTC, to the minute: `31 ene 2026, 09:05`. What isn't one comes back as it is.
    #[must_use]
    pub fn moment(&self, rfc3339: &str) -> String {
        let time = rfc3339.split_once('T').and_then(|(_, time)| time.get(..5));
        time.map_or_else(|| rfc3339.to_owned(), |time| format!("{}, {time}", self.day(rfc3339)))
    }
}

#[cfg(test)]
mod tests {
    use crate::text::{
        Breaker, CheckoutPath, Field, Lang, LoginState, Notice, Problem, Role, SlotState, StepKey,
        StepStatus, Trouble, Way,
    };
    use std::collections::HashSet;

    #[test]
    fn every_code_has_words_of_its_own() {
        for lang in Lang::ALL {
            let w = lang.words();
            let mut said = HashSet::new();
            let mut says = |text: &'static str| {
                assert!(text.len() > 1, "{lang:?}");
                assert!(said.insert(text), "{lang:?} says twice: {text}");
            };
            Problem::ALL.iter().for_each(|p| says(w.problem(*p).title));
            Problem::ALL.iter().for_each(|p| says(w.problem(*p).text));
            StepKey::ALL.iter().for_each(|s| says(w.step(*s)));
            StepStatus::ALL.iter().for_each(|s| says(w.step_status(*s)));
            Role::ALL.iter().for_each(|r| says(w.role(*r)));
            Notice::ALL.iter().for_each(|n| says(w.notice(*n)));
            Trouble::ALL.iter().for_each(|t| says(w.trouble(*t)));
            Way::ALL.iter().for_each(|way| says(w.way(*way)));
            Breaker::ALL.iter().for_each(|breaker| says(w.breaker(*breaker)));
            CheckoutPath::ALL.iter().for_each(|path| says(w.checkout_path(*path)));
            SlotState::ALL.iter().for_each(|state| says(w.slot(*state)));
            LoginState::ALL.iter().filter_map(|s| w.login_state(*s)).for_each(says);
            assert_eq!(w.login_state(LoginState::Fresh), None);
        }
    }

    #[test]
    fn refusals_have_words_and_numbers() {
        let codes = [
            "required",
            "too-short",
            "too-long",
            "unprintable",
            "not-a-label",
            "reserved",
            "taken",
            "not-an-email",
            "too-common",
            "not-allowed",
        ];
        for lang in Lang::ALL {
            let w = lang.words();
            let unknown = w.refusal(Field::Company, "no-such-code", 0);
            for (code, field) in codes.iter().flat_map(|c| Field::ALL.iter().map(move |f| (c, *f))) {
                let text = w.refusal(field, code, 8);
                assert!(text != unknown && !text.contains("{}"), "{lang:?} {code}");
                assert_eq!(text.contains('8'), code.starts_with("too-short") || *code == "too-long");
            }
            assert_ne!(w.refusal(Field::Email, "taken", 0), w.refusal(Field::Subdomain, "taken", 0));
        }
    }

    #[test]
    fn days_are_written_as_people_write_them() {
        assert_eq!(Lang::Es.words().day("2026-01-31T09:05:00Z"), "31 ene 2026");
        assert_eq!(Lang::En.words().day("2026-08-01T00:00:00+00:00"), "1 Aug 2026");
        for odd in ["", "yesterday", "2026-13-01", "2026-00-01T", "<b>"] {
            assert_eq!(Lang::En.words().day(odd), odd);
        }
    }
}
