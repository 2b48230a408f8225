//! `cargo xtask new-migration`: the next file, with its name right and its rules on top.

use crate::workspace;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use std::{fs, io::Write as _, path::Path, process::ExitCode};

#[derive(Args)]
pub(crate) struct NewMigrationArgs {
    /// For the central database, or for every tenant's
    of: Of,
    /// What it does, in a few words
    #[arg(required = true)]
    words: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Of {
    Registry,
    Tenant,
}

pub(crate) fn run(args: &NewMigrationArgs) -> Result<ExitCode> {
    let folder = match args.of {
        Of::Registry => "registry-migrations",
        Of::Tenant => "tenant-migrations",
    };
    let words = args.words.join(" ");
    let name = name(next(&workspace::root().join(folder))?, &words)?;
    let path = workspace::root().join(folder).join(&name);
    let mut file = fs::File::create_new(&path).with_context(|| format!("{folder}/{name} can't be made"))?;
    file.write_all(header(args.of, &words).as_bytes())?;
    println!("{folder}/{name}");
    Ok(ExitCode::SUCCESS)
}

/// The version of a migration, by its file's name: `V<n>__<words>.sql`, words of lower-case letters, digits and `_`.
pub(crate) fn version(file_name: &str) -> Option<u32> {
    let (number, words) = file_name.strip_prefix('V')?.strip_suffix(".sql")?.split_once("__")?;
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
    let good = !words.is_empty() && words.bytes().all(plain) && !number.starts_with(['0', '+']);
    number.parse().ok().filter(|_| good)
}

fn next(folder: &Path) -> Result<u32> {
    let entries = fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))?;
    let mut last = 0;
    for entry in entries {
        last = last.max(version(&entry?.file_name().to_string_lossy()).unwrap_or(0));
    }
    Ok(last + 1)
}

fn name(version: u32, words: &str) -> Result<String> {
    let lower = words.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        bail!("the words name the file: letters and digits are needed");
    }
    Ok(format!("V{version}__{}.sql", words.join("_")))
}

fn header(of: Of, words: &str) -> String {
    let rules = match of {
        Of::Registry => {
            "-- One idea a file, never edited after a release. Portero of the version before must still work with it: add,
-- fill, and remove what is unused a release later."
        }
        Of::Tenant => {
            "-- One idea a file, never edited after a release. It runs in every tenant's database while the version before
-- still serves there: add, fill, and remove what is unused a release later. It runs in a transaction under a
-- lock_timeout: whatever rewrites or scans a large table under a lock belongs in steps of their own."
        }
    };
    let mut line = words.trim().trim_end_matches('.').to_owned();
    if let Some(first) = line.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    format!("-- {line}.\n--\n{rules}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_a_name() {
        for (words, expected) in [
            ("api keys", "V6__api_keys.sql"),
            ("  Users: e-mail, verified?", "V6__users_e_mail_verified.sql"),
            ("drop_legacy", "V6__drop_legacy.sql"),
        ] {
            let name = name(6, words).unwrap();
            assert_eq!(name, expected);
            assert_eq!(version(&name), Some(6), "{name}");
        }
        assert!(name(6, "¿?").is_err());
    }

    #[test]
    fn only_a_right_name_has_a_version() {
        for name in [
            "V1_users.sql",
            "V1__Users.sql",
            "v1__users.sql",
            "V01__users.sql",
            "V+1__users.sql",
            "V1__.sql",
            "V__users.sql",
            "V1__users.txt",
            "README.md",
        ] {
            assert_eq!(version(name), None, "{name}");
        }
        assert_eq!(version("V12__a2.sql"), Some(12));
    }

    #[test]
    fn a_header_is_a_sentence() {
        assert!(header(Of::Tenant, "api keys.").starts_with("-- Api keys.\n--\n-- One idea"));
    }
}
