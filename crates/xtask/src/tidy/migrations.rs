//! Migrations are numbered from 1 without gaps, in files that say what they do.

use crate::migration::version;

/// Complaints about the files of one folder.
pub(super) fn check(folder: &str, names: &[String]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut versions = Vec::new();
    for name in names {
        match version(name) {
            Some(version) => versions.push(version),
            None => complaints
                .push(format!("{folder}/{name}: a migration's name is V<n>__<words>.sql, in lower case")),
        }
    }
    versions.sort_unstable();
    for (expected, version) in (1..).zip(&versions) {
        if *version != expected {
            let what = if *version < expected { "is there twice" } else { "comes after a gap" };
            complaints.push(format!("{folder}/: V{version} {what}: versions are 1, 2, 3 …"));
            break;
        }
    }
    complaints.sort();
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_follow_one_another() {
        for (names, expected) in [
            (&["V2__b.sql", "V1__a.sql", "V3__c.sql"][..], None),
            (&[], None),
            (&["V1__a.sql", "V3__c.sql"], Some("V3 comes after a gap")),
            (&["V2__a.sql"], Some("V2 comes after a gap")),
            (&["V1__a.sql", "V1__b.sql"], Some("V1 is there twice")),
            (&["V1__a.sql", "V2_b.sql"], Some("m/V2_b.sql: a migration's name")),
            (&["V1__a.sql", "notes.txt"], Some("m/notes.txt")),
        ] {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let complaints = check("m", &names);
            assert_eq!(complaints.len(), usize::from(expected.is_some()), "{names:?}: {complaints:?}");
            assert!(expected.is_none_or(|expected| complaints[0].contains(expected)), "{complaints:?}");
        }
    }
}
