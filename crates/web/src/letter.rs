//! The words of mails, as plain text and as HTML.
//!
//! Whoever signs up chooses to whom a mail goes and what the company is called: a name that could be read as a link or an
//! address isn't repeated, and none stands in the subject.

use crate::{Lang, Template, pages::LetterPage};
use portero_control::{Letter, LetterFacts};

/// The letter that asks to confirm a sign-up.
#[must_use]
pub fn letter(facts: &LetterFacts<'_>) -> Letter {
    let lang = Lang::from_code(facts.lang).unwrap_or(Lang::Es);
    let w = lang.words();
    let address = facts.address.split_once("://").map_or(facts.address, |(_, rest)| rest);
    let asked = if is_harmless(facts.company) {
        (w.confirm.asked_for)(address, facts.company)
    } else {
        (w.confirm.asked)(address)
    };
    let lasts = (w.confirm.lasts)(facts.hours);
    let text = format!(
        "{}\n\n{asked}\n\n{}\n\n{}\n\n{lasts} {}\n",
        w.confirm.greeting, w.confirm.press, facts.link, w.confirm.ignore
    );
    let page = LetterPage { lang: lang.code(), w, asked, lasts, link: facts.link };
    // Rendering writes to a string and has nothing to fail at; the text says the same.
    Letter { subject: (w.confirm.subject)(address), html: page.render().unwrap_or_default(), text }
}

/// Whether no mail program makes a link of it, and nobody a message.
fn is_harmless(company: &str) -> bool {
    // Other scripts' full stops and slashes are dots and slashes to a browser.
    let plain = |c: char| {
        c.is_alphanumeric() || c == '’' || c.is_ascii() && !matches!(c, '.' | '/' | ':' | '@' | '\\')
    };
    company.chars().count() <= 60 && company.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter_for(lang: &str, company: &str) -> Letter {
        letter(&LetterFacts {
            lang,
            company,
            address: "https://acme.ejemplo.com",
            link: "https://ejemplo.com/signup/confirm?token=x",
            hours: 6,
        })
    }

    #[test]
    fn both_forms_say_the_same_in_the_language_of_the_form() {
        for (lang, word) in [("es", "enlace"), ("en", "link"), ("fr", "enlace")] {
            let letter = letter_for(lang, "Añañuca & <b>Söhne</b>");
            assert!(letter.text.contains(word) && letter.html.contains(word), "{lang}: {}", letter.text);
            assert!(letter.text.contains("https://ejemplo.com/signup/confirm?token=x"));
            assert!(letter.html.contains("href=\"https://ejemplo.com/signup/confirm?token=x\""));
            assert!(letter.subject.contains("acme.ejemplo.com"), "{}", letter.subject);
        }
        let letter = letter_for("en", "Acme <b>& Co</b>");
        assert!(!letter.html.contains("<b>"), "{}", letter.html);
    }

    #[test]
    fn a_name_that_could_be_a_link_is_not_repeated() {
        for name in [
            "your account is locked, see evil.example",
            "http://evil",
            "call me@evil",
            "evil。com",
            "evil․com",
            "evil．com",
            &"a".repeat(61),
        ] {
            let letter = letter_for("en", name);
            assert!(!letter.text.contains(name) && !letter.html.contains(name), "{name}");
        }
        for name in ["Acme & Co", "Panadería Ñuñoa", "O’Hara (Lima)", "株式会社"] {
            assert!(letter_for("en", name).text.contains(name), "{name}");
        }
    }
}
