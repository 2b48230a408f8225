//! Which language a visitor reads: an explicit switch, a cookie, or `Accept-Language` (RFC 9110, 12.5.4).

use super::{Words, en, es};

/// A language the pages exist in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lang {
    /// Spanish: the house's own, for whoever states no preference.
    Es,
    /// English: also for whoever asks only for languages that aren't here.
    En,
}

impl Lang {
    /// Both, in the order in which the switch shows them.
    pub const ALL: [Self; 2] = [Self::Es, Self::En];

    /// The language tag: `es` or `en`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Es => "es",
            Self::En => "en",
        }
    }

    /// What the language calls itself.
    #[must_use]
    pub const fn own_name(self) -> &'static str {
        match self {
            Self::Es => "Español",
            Self::En => "English",
        }
    }

    /// The language of a tag, regions included (`es-CL`), whatever the case.
    #[must_use]
    pub fn from_code(tag: &str) -> Option<Self> {
        let primary = tag.trim().split('-').next().unwrap_or_default();
        Self::ALL.into_iter().find(|lang| lang.code().eq_ignore_ascii_case(primary))
    }

    /// The language for a request: `?lang=` first, then the cookie, then `Accept-Language`. Unknown values of the first
    /// two count as absent.
    #[must_use]
    pub fn choose(query: Option<&str>, cookie: Option<&str>, accept_language: Option<&str>) -> Self {
        query
            .and_then(Self::from_code)
            .or_else(|| cookie.and_then(Self::from_code))
            .unwrap_or_else(|| Self::negotiate(accept_language.unwrap_or_default()))
    }

    /// The language for a value of `Accept-Language`: the highest weight wins, then what is named first. Parts that
    /// can't be read are passed over.
    #[must_use]
    pub fn negotiate(accept_language: &str) -> Self {
        let ranges: Vec<Range> = accept_language.split(',').filter_map(Range::parse).collect();
        let wish = |lang: Self| {
            let named = ranges.iter().enumerate().filter(|(_, range)| range.lang == Some(lang));
            let any = ranges.iter().enumerate().filter(|(_, range)| range.any);
            let heaviest =
                |a: &(usize, &Range), b: &(usize, &Range)| a.1.weight.cmp(&b.1.weight).then(b.0.cmp(&a.0));
            named
                .max_by(heaviest)
                .or_else(|| any.max_by(heaviest))
                .map(|(place, range)| (range.weight, place))
        };
        let (es, en) = (wish(Self::Es), wish(Self::En));
        let refused = |wish: Option<(u16, usize)>| matches!(wish, Some((0, _)));
        match (es, en) {
            (None, None) if ranges.iter().any(|range| range.weight > 0) => Self::En,
            _ if refused(es) && !refused(en) => Self::En,
            (None, Some((weight, _))) if weight > 0 => Self::En,
            (Some((a, first)), Some((b, second))) if b > a || (b == a && second < first) => Self::En,
            _ => Self::Es,
        }
    }

    /// Its table of words.
    #[must_use]
    pub const fn words(self) -> &'static Words {
        match self {
            Self::Es => &es::WORDS,
            Self::En => &en::WORDS,
        }
    }
}

/// One part of `Accept-Language`: `es-CL;q=0.8`.
struct Range {
    /// The language here that it means, if any.
    lang: Option<Lang>,
    /// Whether it is `*`.
    any: bool,
    /// In thousandths.
    weight: u16,
}

impl Range {
    fn parse(part: &str) -> Option<Self> {
        let mut pieces = part.split(';');
        let tag = pieces.next()?.trim();
        let proper = tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if tag != "*" && (tag.is_empty() || tag.len() > 35 || !proper) {
            return None;
        }
        let weight = match pieces.next() {
            None => 1000,
            Some(parameter) => weight(parameter)?,
        };
        Some(Self { lang: Lang::from_code(tag), any: tag == "*", weight })
    }
}

/// `q=0.8` in thousandths.
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let value = value.trim();
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if !matches!(whole, "0" | "1") || fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    let weight = if whole == "1" { 1000 + thousandths } else { thousandths };
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_language_is_weighed() {
        for (header, expected) in [
            ("", Lang::Es),
            ("*", Lang::Es),
            ("es", Lang::Es),
            ("en", Lang::En),
            ("es-CL", Lang::Es),
            ("ES-cl,es;q=0.9,en;q=0.8", Lang::Es),
            ("en-US,en;q=0.9,es;q=0.8", Lang::En),
            ("en;q=0.4, es;q=0.5", Lang::Es),
            ("en;q=0.501,es;q=0.5", Lang::En),
            ("fr, en;q=0.3, es;q=0.2", Lang::En),
            ("es,en", Lang::Es),
            ("en,es", Lang::En),
            ("en;q=0.8,es;q=0.8", Lang::En),
            ("es;q=0.2,es-MX;q=0.9,en;q=0.5", Lang::Es),
            ("fr-FR,fr;q=0.9", Lang::En),
            ("pt-BR", Lang::En),
            ("fr,*;q=0.1", Lang::Es),
            ("es;q=0,*", Lang::En),
            ("es;q=0", Lang::En),
            ("en;q=0", Lang::Es),
            ("en;q=0,*;q=0.5", Lang::Es),
            ("en;q=0.1,*;q=0.5", Lang::Es),
            ("*;q=0.5,en", Lang::En),
            ("*;q=0", Lang::Es),
            // What can't be read is passed over.
            (";;;,,q=1", Lang::Es),
            ("en;q=1.5", Lang::Es),
            ("en;q=abc, es;q=0.1", Lang::Es),
            ("en;q=-1", Lang::Es),
            ("en ; Q=1.000 , es;q=0.999", Lang::En),
            ("<script>, en", Lang::En),
            ("english", Lang::En),
            ("\u{1F600}", Lang::Es),
        ] {
            assert_eq!(Lang::negotiate(header), expected, "{header:?}");
        }
    }

    #[test]
    fn the_switch_beats_the_cookie_and_the_cookie_the_header() {
        assert_eq!(Lang::choose(Some("en"), Some("es"), Some("es")), Lang::En);
        assert_eq!(Lang::choose(None, Some("en"), Some("es")), Lang::En);
        assert_eq!(Lang::choose(Some("xx"), Some(""), Some("en")), Lang::En);
        assert_eq!(Lang::choose(None, None, None), Lang::Es);
    }
}
