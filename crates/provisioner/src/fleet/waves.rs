//! Waves: a few tenants first, so that a migration that fails does so where it harms few.

use std::{fmt, num::NonZeroUsize, str::FromStr};

/// How many of all tenants have had their turn after each wave; the last is all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waves(Vec<Part>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Count(NonZeroUsize),
    Percent(usize),
}

/// Why a text names no waves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WavesError {
    /// An entry is neither a number nor a percentage.
    #[error("{0:?} is no wave: a number of tenants such as 5, or a part of all such as 10%")]
    Entry(String),
    /// Tenants would be left out.
    #[error("the last wave is 100%: 1,10%,100%")]
    NotAll,
}

impl Default for Waves {
    fn default() -> Self {
        Self(vec![Part::Count(NonZeroUsize::MIN), Part::Percent(10), Part::Percent(100)])
    }
}

impl FromStr for Waves {
    type Err = WavesError;

    fn from_str(text: &str) -> Result<Self, WavesError> {
        let waves = text.split(',').map(|entry| Part::parse(entry.trim())).collect::<Result<Vec<_>, _>>()?;
        if waves.last() == Some(&Part::Percent(100)) { Ok(Self(waves)) } else { Err(WavesError::NotAll) }
    }
}

impl fmt::Display for Waves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match part {
                Part::Count(count) => write!(f, "{comma}{count}")?,
                Part::Percent(percent) => write!(f, "{comma}{percent}%")?,
            }
        }
        Ok(())
    }
}

impl Part {
    fn parse(entry: &str) -> Result<Self, WavesError> {
        let refused = || WavesError::Entry(entry.to_owned());
        match entry.strip_suffix('%') {
            None => entry.parse().map(Self::Count).map_err(|_| refused()),
            Some(percent) => match percent.parse() {
                Ok(percent @ 1..=100) => Ok(Self::Percent(percent)),
                _ => Err(refused()),
            },
        }
    }

    /// Of so many, how many that is; a part of somebody is somebody.
    fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count.get().min(all),
            Self::Percent(percent) => (all * percent).div_ceil(100),
        }
    }
}

impl Waves {
    /// How many of so many tenants each wave has. None is empty, so there may be fewer than were asked for.
    #[must_use]
    pub fn sizes(&self, all: usize) -> Vec<usize> {
        let mut done = 0;
        let mut sizes = Vec::new();
        for part in &self.0 {
            let until = part.of(all);
            if until > done {
                sizes.push(until - done);
                done = until;
            }
        }
        sizes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_are_read_as_they_are_written() {
        for text in ["100%", "1,10%,100%", "5,20,50%,100%"] {
            assert_eq!(text.parse::<Waves>().unwrap().to_string(), text);
        }
        assert_eq!(" 1, 10%,100% ".parse::<Waves>().unwrap(), Waves::default());
        for text in
            ["", "1", "10%", "100%,10%", "0,100%", "0%,100%", "101%", "-1,100%", "1.5,100%", "1,,100%"]
        {
            assert!(text.parse::<Waves>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_tenant_is_in_one_wave() {
        for (waves, all, sizes) in [
            ("1,10%,100%", 0, &[][..]),
            ("1,10%,100%", 1, &[1]),
            ("1,10%,100%", 5, &[1, 4]),
            ("1,10%,100%", 11, &[1, 1, 9]),
            ("1,10%,100%", 100, &[1, 9, 90]),
            ("50%,10%,100%", 10, &[5, 5]),
            ("20,100%", 10, &[10]),
            ("100%", 300, &[300]),
        ] {
            assert_eq!(waves.parse::<Waves>().unwrap().sizes(all), sizes, "{waves} of {all}");
        }
    }
}
