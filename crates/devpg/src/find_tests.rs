//! The search on made-up installations: scripts that print a version.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

struct Made(PathBuf);

impl Made {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("portero-find-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir.canonicalize().unwrap())
    }

    /// An installation in `<here>/<name>/bin`.
    fn install(&self, name: &str, version: &str) -> PathBuf {
        let bin = self.0.join(name).join("bin");
        fs::create_dir_all(&bin).unwrap();
        for program in ["postgres", "initdb"] {
            script(&bin.join(program), &format!("echo '{program} (PostgreSQL) {version}'"));
        }
        bin
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Written by `sh`, not by us: a file we had open for writing while another thread forks can't be executed.
fn script(path: &Path, line: &str) {
    let body = format!("#!/bin/sh\n{line}\n");
    let status =
        Command::new("/bin/sh").args(["-c", "printf %s \"$2\" >\"$1\"", "sh"]).arg(path).arg(body).status();
    assert!(status.unwrap().success());
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn found(versions: &[(u32, u32)]) -> Vec<Installation> {
    let one = |(i, &(major, minor)): (usize, &(u32, u32))| Installation {
        bin_dir: PathBuf::from(format!("/place/{i}")),
        version: Version { major, minor },
    };
    versions.iter().enumerate().map(one).collect()
}

#[test]
fn the_newest_usable_one_is_chosen_and_the_first_among_equals() {
    for (versions, expected) in [
        (&[][..], None),
        (&[(14, 99)], None),
        (&[(14, 2), (15, 0)], Some(1)),
        (&[(15, 18), (17, 1), (16, 9)], Some(1)),
        (&[(16, 1), (16, 4)], Some(1)),
        (&[(16, 4), (15, 2), (16, 4)], Some(0)),
    ] {
        let found = found(versions);
        assert_eq!(newest_usable(&found), expected.map(|i: usize| &found[i]), "{versions:?}");
    }
}

#[test]
fn an_older_major_is_found_for_a_cluster_that_needs_it() {
    let found = found(&[(17, 1), (15, 3), (15, 9)]);
    let binaries = Binaries { chosen: found[0].clone(), found };
    assert_eq!(binaries.for_major(15).unwrap().version, Version { major: 15, minor: 9 });
    assert_eq!(binaries.for_major(17).unwrap().version, Version { major: 17, minor: 1 });
    assert_eq!(binaries.for_major(16), None);
}

#[test]
fn the_search_follows_links_counts_a_place_once_and_leaves_out_what_does_not_run() {
    let made = Made::new("search");
    let bin16 = made.install("lib/16", "16.4");
    made.install("lib/15", "15.2");
    let broken = made.install("lib/17", "17.0");
    script(&broken.join("initdb"), "exit 1");
    let mixed = made.install("lib/18", "18.0");
    script(&mixed.join("initdb"), "echo 'initdb (PostgreSQL) 17.0'");
    let lone = made.0.join("lone");
    fs::create_dir(&lone).unwrap();
    symlink(bin16.join("postgres"), lone.join("postgres")).unwrap();

    assert_eq!(probe(&lone).unwrap().bin_dir, bin16);

    let pattern = format!("{}/lib/1*/bin", made.0.display());
    let candidates = candidates(Some(lone.as_os_str()), &[&pattern]);
    assert!(candidates.starts_with(&[lone]), "{candidates:?}");
    let ours: Vec<PathBuf> = candidates.into_iter().filter(|dir| dir.starts_with(&made.0)).collect();
    let binaries = Binaries::among(&ours).unwrap();
    assert_eq!(binaries.bin_dir(), bin16);
    assert_eq!(binaries.found().len(), 2, "{binaries:?}");
}

#[test]
fn a_set_directory_wins_and_may_be_the_one_above_bin() {
    let made = Made::new("set");
    let bin = made.install("pg", "15.1");
    assert_eq!(Binaries::find(Some(&bin)).unwrap().bin_dir(), bin);
    let above = Binaries::find(Some(&made.0.join("pg"))).unwrap();
    assert_eq!((above.bin_dir(), above.version()), (bin.as_path(), Version { major: 15, minor: 1 }));
}

#[test]
fn a_set_directory_that_cannot_serve_is_named() {
    let made = Made::new("refused");
    let old = made.install("old", "14.11");
    let error = Binaries::find(Some(&old)).unwrap_err().to_string();
    assert!(
        error.contains(old.to_str().unwrap()) && error.contains("14.11") && error.contains("15"),
        "{error}"
    );

    let empty = made.0.clone();
    let error = Binaries::find(Some(&empty)).unwrap_err().to_string();
    assert!(error.contains(empty.to_str().unwrap()) && error.contains("no `postgres`"), "{error}");

    fs::remove_file(old.join("initdb")).unwrap();
    let error = Binaries::find(Some(&old)).unwrap_err().to_string();
    assert!(error.contains("no `initdb`"), "{error}");
}

#[test]
fn nothing_found_says_what_to_install_and_which_were_too_old() {
    let made = Made::new("nothing");
    let error = Binaries::among(&[]).unwrap_err().to_string();
    assert!(error.contains("none was found") && error.contains("Install it ("), "{error}");

    let old = made.install("lib/13", "13.9");
    let error = Binaries::among(std::slice::from_ref(&old)).unwrap_err().to_string();
    assert!(error.contains("13.9 in ") && error.contains(old.to_str().unwrap()), "{error}");
}
