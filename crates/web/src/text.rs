//! Every visible word, in Spanish and in English.
//!
//! One table per language, both of the type [`Words`]: a translation that is missing doesn't compile. Which of the two
//! a visitor gets is [`Lang::choose`]'s to say. What a page shows by code (problems, steps, refusals) goes through the
//! enums here, so that a new code without words doesn't compile either.

mod codes;
pub mod console;
mod en;
mod es;
mod lang;
mod words;

pub use codes::{
    Breaker, CheckoutPath, Field, LoginState, Notice, Problem, Role, SlotState, StepKey, StepStatus, Trouble,
    Way,
};
pub use lang::Lang;
pub use words::{
    BudgetWords, Common, ConfirmWords, HomeWords, LandingWords, LoginWords, MailboxWords, OperatorsWords,
    ProblemWords, ProgressWords, RefusalWords, SignupWords, Words,
};
