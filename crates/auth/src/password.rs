//! Which passwords may be chosen: long enough, and not among the first that somebody would guess.
//!
//! No rules about capitals and digits: they make passwords worse (NIST SP 800-63B-4, section 3.1.1.2). What counts is
//! the number of guesses that an attacker needs who knows common passwords, keyboards, dates and *this* company.
//! It doesn't know hashing. Next: `passwords.rs`.

use portero_kernel::{ExposeSecret, Refusal, SecretString};
use std::{collections::HashSet, sync::LazyLock};
use zxcvbn::zxcvbn;

/// Guesses that a password must withstand by zxcvbn's count: what eight characters without any pattern are worth.
/// Measured on the 8,359 common passwords of eight characters or more from the list in `common.txt`: at 10^6 a tenth of
/// them passes and so does `Acme-2024` at Acme's; at 10^8 a twentieth, nearly all of them random to the eye. Two words
/// and a number (`kite-lantern-92`) are worth 10^12.
const GUESSES: u64 = 100_000_000;

/// What the estimator misses of the common ones.
static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("common.txt").lines().filter(|line| !line.starts_with('#')).collect());

/// Characters of each text of the context that are looked at: a company's name has no more, and an e-mail address that
/// has is known by its start.
const CONTEXT_CHARS: usize = 100;
/// Words of the whole context that are looked at. A name, a subdomain and an e-mail address have about ten.
const CONTEXT_WORDS: usize = 20;

/// Characters that zxcvbn reads as one letter, by letter, where there are several. It tries all combinations of those
/// that a password has, 576 at the worst.
const LOOK_ALIKES: [&str; 7] = ["4@", "({[<", "69", "1!|", "1|7", "$5", "+7"];

/// A password that may be chosen. Wiped when dropped. Any script and any spaces: nothing is trimmed, cut, folded or
/// normalised.
#[derive(Debug, Clone)]
pub struct Password(SecretString);

impl Password {
    /// Characters needed at least (OWASP ASVS 5.0, 6.2.1).
    pub const MIN: usize = 8;
    /// Characters allowed at most: ASVS asks for 64 or more (6.2.9), and a limit keeps the work bounded.
    pub const MAX: usize = 128;

    /// Checks a password that somebody wants to have. `context` is what a stranger could know about them, raw: the
    /// company's name, its subdomain, the person's name and e-mail address. Costs up to some tens of milliseconds of
    /// processor, so a server has [`Passwords::choose`](crate::Passwords::choose) do it.
    ///
    /// # Errors
    /// Too short, too long, with control characters (such as NUL), or too easy to guess.
    pub fn parse(raw: &str, context: &[&str]) -> Result<Self, Refusal> {
        Candidate::parse(raw, context)?.estimate()
    }

    pub(crate) fn secret(&self) -> &SecretString {
        &self.0
    }
}

/// Whether `raw` has more than [`Password::MAX`] characters. Doesn't count through what is far longer.
pub(crate) fn is_too_long(raw: &str) -> bool {
    raw.len() > Password::MAX * char::MAX_LEN_UTF8 || raw.chars().count() > Password::MAX
}

/// A password of the right length and characters, and not on the list: what is left to do is the estimate.
#[derive(Debug)]
pub(crate) struct Candidate {
    password: Password,
    words: Vec<String>,
}

impl Candidate {
    /// What costs next to nothing, however long `raw` and `context` are.
    pub(crate) fn parse(raw: &str, context: &[&str]) -> Result<Self, Refusal> {
        if is_too_long(raw) {
            return Err(Refusal::TooLong { max: Password::MAX });
        }
        if raw.chars().any(char::is_control) {
            return Err(Refusal::Unprintable);
        }
        if raw.chars().count() < Password::MIN {
            return Err(Refusal::TooShort { min: Password::MIN });
        }
        if COMMON.contains(raw.to_lowercase().as_str()) {
            return Err(Refusal::TooCommon);
        }
        Ok(Self { password: Password(SecretString::from(raw)), words: context_words(context) })
    }

    /// What costs milliseconds.
    pub(crate) fn estimate(self) -> Result<Password, Refusal> {
        let raw = self.password.0.expose_secret();
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let start: String = raw.chars().take(estimated_chars(raw)).collect();
        if zxcvbn(&start, &words).guesses() < GUESSES { Err(Refusal::TooCommon) } else { Ok(self.password) }
    }
}

/// How many characters from the start are handed to zxcvbn, whose time grows with their square times the combinations
/// of look-alikes: 100 characters with all of these took 700 ms, 16 take 24 ms at most, and 64 with few of them 16
/// (optimised, one core of an ordinary server). A start that is hard to guess makes the whole so.
fn estimated_chars(raw: &str) -> usize {
    let readings = |set: &&str| set.chars().filter(|c| raw.contains(*c)).count().max(1);
    let combinations: usize = LOOK_ALIKES.iter().map(readings).product();
    if combinations <= 16 { 64 } else { 16 }
}

/// The words of all texts, in lower case and each once. The estimator reads them all for every combination of
/// look-alikes, so there are [`CONTEXT_WORDS`] at most: the first of each text, then the second of each, and so on, so that
/// no text keeps another's out.
fn context_words(context: &[&str]) -> Vec<String> {
    let lists: Vec<Vec<String>> = context.iter().take(CONTEXT_WORDS).map(|text| words_of(text)).collect();
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let mut words = Vec::new();
    for word in (0..longest).flat_map(|nth| lists.iter().filter_map(move |list| list.get(nth))) {
        if words.len() < CONTEXT_WORDS && !words.contains(word) {
            words.push(word.clone());
        }
    }
    words
}

/// The start of a text as it is, with all but letters and digits left out, and in its pieces of three or more of these:
/// `Acme Corp` gives `acme corp`, `acmecorp`, `acme` and `corp`.
fn words_of(text: &str) -> Vec<String> {
    let start: String = text.chars().take(CONTEXT_CHARS).flat_map(char::to_lowercase).collect();
    let mut words = vec![start.clone(), start.chars().filter(|c| c.is_alphanumeric()).collect()];
    words.extend(start.split(|c: char| !c.is_alphanumeric()).map(str::to_owned));
    words.retain(|word| word.chars().count() >= 3);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACME: [&str; 3] = ["Acme Corp", "acme", "ana.lopez@acme.example"];

    fn refusal(raw: &str) -> Option<Refusal> {
        Password::parse(raw, &ACME).err()
    }

    #[test]
    fn decent_passwords_pass() {
        let long = "Zq7!tR9w kite lantern ".repeat(6)[..128].to_owned();
        for raw in [
            "correct-horse-battery",
            "correct horse battery staple",
            "Tr4vesura-lunar",
            "kite-lantern-92",
            "S3cret-pass-1",
            "hunter2-acme-x9",
            "gato-verde-7",
            "mesa4gato",
            "xK9#mP2q",
            "v8RtQ2mz",
            "añañuca-roja",
            "株式会社の秘密の言葉",
            "🦊🌵🎲🧵🪁🥝🛶🧊",
            " leading and trailing ",
            "4@({[<691!|7$5+xyz",
            long.as_str(),
        ] {
            assert_eq!(refusal(raw), None, "{raw}");
        }
    }

    #[test]
    fn common_passwords_are_refused() {
        for raw in [
            "password",
            "password1",
            "password123",
            "Password1!",
            "P@ssw0rd1",
            "passw0rd",
            "p455w0rd",
            "12345678",
            "123456789",
            "1234567890",
            "11111111",
            "00000000",
            "87654321",
            "qwertyuiop",
            "qwerty123",
            "qwerty123456",
            "1q2w3e4r",
            "1q2w3e4r5t",
            "1qaz2wsx",
            "asdfghjkl",
            "zxcvbnm123",
            "aaaaaaaaaa",
            "abababab",
            "abcd1234",
            "abcdefgh",
            "iloveyou",
            "iloveyou2",
            "sunshine1",
            "princess",
            "football",
            "baseball1",
            "superman",
            "trustno1!",
            "letmein123!",
            "welcome1",
            "Welcome2024!",
            "Summer2024",
            "changeme",
            "changeme123",
            "admin123",
            "administrator",
            "starwars",
            "computer",
            "michelle",
            "jennifer",
            "barcelona1",
            "realmadrid",
            "contrasena1",
            "contraseña",
            "hola12345",
            "teamoteamo",
            "19900101",
            "31121999",
            "passwordpassword",
            "drowssap",
            "internet",
            "whatever",
            "samsung1",
            "linkedin",
            "myspace1",
            "homelesspa",
            "Fqrg7Cs493",
        ] {
            assert_eq!(refusal(raw), Some(Refusal::TooCommon), "{raw}");
        }
        for raw in COMMON.iter() {
            assert_eq!(refusal(raw), Some(Refusal::TooCommon), "{raw}");
        }
    }

    #[test]
    fn what_is_known_about_somebody_is_easy_to_guess() {
        for raw in [
            "acmeacme1",
            "Acme-2024",
            "AcmeCorp-2025",
            "acmecorp2025!",
            "analopez1",
            "lopez1990",
            "4cm3c0rp99",
        ] {
            assert_eq!(refusal(raw), Some(Refusal::TooCommon), "{raw}");
        }
        for (raw, context) in [
            ("globexinc-2025", "Globex, Inc."),
            ("vintarex-2025", "Vintarex Trading S.L."),
            ("marisolve-77", "marisolve.ruiz@vintarex.example"),
        ] {
            assert!(Password::parse(raw, &[]).is_ok(), "{raw}");
            assert_eq!(Password::parse(raw, &[context]).err(), Some(Refusal::TooCommon), "{raw}");
        }
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(refusal(""), Some(Refusal::TooShort { min: 8 }));
        assert_eq!(refusal("xK9#mP2"), Some(Refusal::TooShort { min: 8 }));
        assert_eq!(refusal("ñÑ9#株P2"), Some(Refusal::TooShort { min: 8 }));
        assert_eq!(refusal(&format!("Zq7!tR9w{}", "é".repeat(120))), None);
        for long in [129, 1_000_000] {
            assert_eq!(refusal(&"é".repeat(long)), Some(Refusal::TooLong { max: 128 }));
        }
    }

    #[test]
    fn control_characters_are_refused() {
        for raw in ["Zq7!tR9w\0", "Zq7!\u{1b}tR9w", "Zq7!tR9w\n", "\u{85}Zq7!tR9w", "\0"] {
            assert_eq!(refusal(raw), Some(Refusal::Unprintable), "{raw:?}");
        }
    }

    #[test]
    fn nothing_is_cut_or_trimmed() {
        let raw = " Zq7!tR9w \u{301}ﬁ ";
        assert_eq!(Password::parse(raw, &[]).unwrap().secret().expose_secret(), raw);
    }

    #[test]
    fn contrived_look_alikes_get_a_shorter_look() {
        assert_eq!(estimated_chars("correct-horse-battery"), 64);
        assert_eq!(estimated_chars("1234567890"), 64);
        assert_eq!(estimated_chars("4@({[<691!|7$5+"), 16);
    }

    #[test]
    fn no_text_of_the_context_is_too_long_and_none_keeps_anothers_words_out() {
        let words: String = (0..11_000).map(|n| format!("w{n:04} ")).collect();
        let context = context_words(&[&words, "globex", "ana.lopez@globex.example"]);
        assert_eq!(context.len(), CONTEXT_WORDS);
        assert!(context.iter().all(|word| word.chars().count() <= CONTEXT_CHARS), "{context:?}");
        for word in ["w0000", "w0009", "globex", "ana.lopez@globex.example", "ana", "lopez", "example"] {
            assert!(context.iter().any(|known| known == word), "{word}: {context:?}");
        }
        let many: Vec<String> = (0..11_000).map(|n| format!("word{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(context_words(&many).len(), CONTEXT_WORDS);
        assert_eq!(context_words(&["Acme Corp", "acme", "ACME"]), ["acme corp", "acme", "acmecorp", "corp"]);
        assert_eq!(context_words(&["", "a b", "é"]), ["a b"]);
    }

    #[test]
    fn debug_shows_nothing() {
        let shown = format!("{:?}", Password::parse("kite-lantern-92", &[]).unwrap());
        assert!(!shown.contains("kite"), "{shown}");
    }
}
