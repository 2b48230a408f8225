//! Why a value that a person or a program sent was refused, field by field.

/// Why one value was refused. The texts are English and complete "`field` …"; the pages have their own words by
/// [`Refusal::code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was sent, or only white space.
    #[error("is required")]
    Required,
    /// Fewer than `min` characters.
    #[error("is too short: at least {min} characters")]
    TooShort {
        /// Characters that are needed at least.
        min: usize,
    },
    /// More than `max` characters.
    #[error("is too long: at most {max} characters")]
    TooLong {
        /// Characters that are allowed at most.
        max: usize,
    },
    /// Control or invisible characters.
    #[error("contains characters that can't be shown")]
    Unprintable,
    /// Not a DNS label as sign-ups need it.
    #[error(
        "may only have the letters a to z, digits and hyphens, with a letter among them and no hyphen at the ends or doubled in third place"
    )]
    NotALabel,
    /// On the list of names that nobody may take.
    #[error("is reserved: please choose another")]
    Reserved,
    /// Another company has it, or had it not long ago.
    #[error("is already taken: please choose another")]
    Taken,
    /// Not an e-mail address.
    #[error("is not an e-mail address")]
    NotAnEmail,
    /// A password that is among the first to be guessed.
    #[error("is too easy to guess: avoid common passwords, your name and your company's")]
    TooCommon,
    /// Not one of the values that are allowed.
    #[error("is not one of the allowed values")]
    NotAllowed,
}

impl Refusal {
    /// A stable name for programs and translations.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::TooShort { .. } => "too-short",
            Self::TooLong { .. } => "too-long",
            Self::Unprintable => "unprintable",
            Self::NotALabel => "not-a-label",
            Self::Reserved => "reserved",
            Self::Taken => "taken",
            Self::NotAnEmail => "not-an-email",
            Self::TooCommon => "too-common",
            Self::NotAllowed => "not-allowed",
        }
    }
}

impl Refusal {
    /// The number of characters that a length was held against.
    #[must_use]
    pub const fn limit(self) -> Option<usize> {
        match self {
            Self::TooShort { min } => Some(min),
            Self::TooLong { max } => Some(max),
            _ => None,
        }
    }
}

/// One field at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name as the caller sent it, with dots for nesting: `admin.email`.
    pub field: &'static str,
    /// What is wrong with it.
    pub refusal: Refusal,
}

/// Collects what is wrong with a form, so that a person sees all of it at once.
#[derive(Debug, Default)]
pub struct Fields {
    errors: Vec<FieldError>,
}

impl Fields {
    /// Keeps the value, or notes the field's error and returns `None`.
    pub fn take<T>(&mut self, field: &'static str, parsed: Result<T, Refusal>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(refusal) => {
                self.errors.push(FieldError { field, refusal });
                None
            }
        }
    }

    /// What was found wrong, in the order it was looked at.
    #[must_use]
    pub fn into_errors(self) -> Vec<FieldError> {
        self.errors
    }
}

/// Trims, and refuses what is empty, longer than `max` characters, or has characters that can't be shown.
pub(crate) fn plain_text(raw: &str, max: usize) -> Result<&str, Refusal> {
    let text = raw.trim();
    if text.is_empty() {
        return Err(Refusal::Required);
    }
    if text.chars().count() > max {
        return Err(Refusal::TooLong { max });
    }
    if text.chars().any(unprintable) {
        return Err(Refusal::Unprintable);
    }
    Ok(text)
}

/// Control characters, the invisible ones that turn text around or join it, blanks that aren't white space, and what
/// Unicode has given to nobody: they make two different names look alike in a list.
fn unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{AD}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}'
            | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
            | '\u{E000}'..='\u{F8FF}' | '\u{E0000}'..='\u{10FFFF}')
        || u32::from(c) & 0xFFFE == 0xFFFE
}
