//! Programs that a chore needs beside cargo: are they here, and if not, how does one get them here.
//!
//! Where everything is here nothing else happens. On Debian and its relatives, as root or with a sudo that asks for no
//! password, what is missing is installed; anywhere else, the sentence to print names the command. What to do is
//! decided by [`plan`], which looks at nothing; `needs/install.sh` does it, and leaves no service running.

mod platform;

use anyhow::{Context, Result, bail};
use platform::Platform;
use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A program, under any of its names, and the packages that hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// As people call it.
    title: &'static str,
    programs: &'static [&'static str],
    /// The oldest major version that will do.
    oldest: Option<u32>,
    /// Packages of Debian; those of Ubuntu if they are others. Empty: there is none.
    debian: &'static [&'static str],
    ubuntu: Option<&'static [&'static str]>,
    fedora: &'static str,
    arch: &'static str,
    alpine: &'static str,
    suse: &'static str,
    brew: &'static str,
    /// Where the platform's packages can't help.
    advice: &'static str,
}

pub(crate) const POSTGRES: Need = Need {
    title: "PostgreSQL 15 or newer",
    programs: &["initdb"],
    oldest: Some(15),
    debian: &["postgresql"],
    ubuntu: None,
    fedora: "postgresql-server",
    arch: "postgresql",
    alpine: "postgresql17",
    suse: "postgresql-server",
    brew: "postgresql@17",
    advice: "https://www.postgresql.org/download/",
};

pub(crate) const NGINX: Need = Need {
    title: "nginx",
    programs: &["nginx"],
    oldest: None,
    debian: &["nginx"],
    ubuntu: None,
    fedora: "nginx",
    arch: "nginx",
    alpine: "nginx",
    suse: "nginx",
    brew: "nginx",
    advice: "https://nginx.org/en/download.html",
};

pub(crate) const CHROMIUM: Need = Need {
    title: "Chromium",
    programs: &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
    oldest: None,
    debian: &["chromium", "fonts-dejavu-core"],
    // Ubuntu has it as a snap only.
    ubuntu: Some(&[]),
    fedora: "chromium",
    arch: "chromium",
    alpine: "chromium",
    suse: "chromium",
    brew: "--cask chromium",
    advice: "sudo snap install chromium",
};

pub(crate) const CHROMEDRIVER: Need = Need {
    title: "chromedriver",
    programs: &["chromedriver", "chromium.chromedriver"],
    oldest: None,
    debian: &["chromium-driver"],
    ubuntu: Some(&[]),
    fedora: "chromedriver",
    arch: "chromium",
    alpine: "chromium-chromedriver",
    suse: "chromedriver",
    brew: "--cask chromedriver",
    advice: "sudo snap install chromium",
};

pub(crate) const WRK: Need = Need {
    title: "wrk, the load generator",
    programs: &["wrk"],
    oldest: None,
    debian: &["wrk"],
    ubuntu: None,
    fedora: "wrk",
    arch: "wrk",
    alpine: "wrk",
    suse: "wrk",
    brew: "wrk",
    advice: "https://github.com/wg/wrk",
};

/// Something is not here, and what one does about it. Ends the command with 2.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing(String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// What is to be done about what is missing.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Nothing,
    Install(Vec<&'static str>),
    Tell(String),
}

/// Makes sure that all of these are here.
///
/// # Errors
/// [`Missing`] where they aren't and can't be installed by us.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let missing = absent(needs);
    let platform = Platform::of_this_machine();
    match plan(&missing, platform, may_install(&missing)) {
        Plan::Nothing => return Ok(()),
        Plan::Tell(text) => bail!(Missing(text)),
        Plan::Install(packages) => install(&packages)?,
    }
    match plan(&absent(needs), platform, false) {
        Plan::Tell(text) => bail!(Missing(text)),
        Plan::Nothing | Plan::Install(_) => Ok(()),
    }
}

/// Where a need's program is. The directories are those of `PATH` and a few more: administrators' programs are often
/// not in a user's `PATH`, and Debian keeps PostgreSQL's out of it.
pub(crate) fn find(need: &Need) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = [
        "/usr/sbin",
        "/usr/local/sbin",
        "/usr/local/bin",
        "/snap/bin",
        "/opt/homebrew/bin",
        "/usr/local/pgsql/bin",
    ];
    let dirs = env::split_paths(&path).chain(usual.map(PathBuf::from)).chain(postgres_dirs());
    let candidates = dirs.flat_map(|dir| need.programs.iter().map(move |program| dir.join(program)));
    candidates.into_iter().find(|file| file.is_file() && is_new_enough(file, need.oldest))
}

fn postgres_dirs() -> Vec<PathBuf> {
    let below = |parent: &str, prefix: &str, rest: &str| -> Vec<PathBuf> {
        let entries = Path::new(parent).read_dir().into_iter().flatten().flatten();
        let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        ours.map(|entry| entry.path().join(rest)).collect()
    };
    let mut dirs: Vec<PathBuf> = Command::new("pg_config")
        .arg("--bindir")
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
        .into_iter()
        .collect();
    dirs.extend(below("/usr/lib/postgresql", "", "bin"));
    dirs.extend(below("/usr", "pgsql-", "bin"));
    dirs.extend(below("/usr/libexec", "postgresql", ""));
    dirs.extend(below("/opt/homebrew/opt", "postgresql", "bin"));
    dirs
}

fn is_new_enough(program: &Path, oldest: Option<u32>) -> bool {
    let Some(oldest) = oldest else { return true };
    let told = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    told.ok().and_then(|told| major(&String::from_utf8_lossy(&told.stdout))).is_some_and(|is| is >= oldest)
}

/// Of `initdb (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`: 15.
fn major(told: &str) -> Option<u32> {
    let number = told.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn absent(needs: &[Need]) -> Vec<Need> {
    needs.iter().filter(|need| find(need).is_none()).copied().collect()
}

fn plan(missing: &[Need], platform: Platform, may_install: bool) -> Plan {
    if missing.is_empty() {
        return Plan::Nothing;
    }
    let by_apt = missing.iter().all(|need| platform.apt_packages(need).is_some());
    if may_install && by_apt {
        let mut packages: Vec<_> =
            missing.iter().filter_map(|need| platform.apt_packages(need)).flatten().copied().collect();
        packages.dedup();
        return Plan::Install(packages);
    }
    let titles: Vec<&str> = missing.iter().map(|need| need.title).collect();
    let mut text = format!("Not on this machine: {}.\n", titles.join(", "));
    for command in platform.commands(missing) {
        text.push_str(&format!("  {command}\n"));
    }
    text.push_str("Then run this again.");
    Plan::Tell(text)
}

/// As root, or with a sudo that asks for nothing.
fn may_install(missing: &[Need]) -> bool {
    !missing.is_empty() && (is_root() || succeeds(Command::new("sudo").args(["-n", "true"])))
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

fn succeeds(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn install(packages: &[&str]) -> Result<()> {
    println!("Installing {} (apt-get; this may take a minute) …", packages.join(", "));
    let mut command = if is_root() {
        Command::new("sh")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "sh"]);
        sudo
    };
    let output = command
        .args(["-c", include_str!("needs/install.sh"), "install.sh"])
        .args(packages)
        .stdin(Stdio::null())
        .output()
        .context("sh can't be run")?;
    if !output.status.success() {
        eprint!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("the packages could not be installed; what apt-get said is above");
    }
    println!("Installed.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_done_where_all_is_here() {
        assert_eq!(plan(&[], Platform::Debian, true), Plan::Nothing);
        assert_eq!(plan(&[], Platform::Other, false), Plan::Nothing);
    }

    #[test]
    fn debian_installs_and_asks_nobody() {
        let all = plan(&[POSTGRES, NGINX, CHROMIUM, CHROMEDRIVER], Platform::Debian, true);
        let packages = ["postgresql", "nginx", "chromium", "fonts-dejavu-core", "chromium-driver"];
        assert_eq!(all, Plan::Install(packages.to_vec()));
    }

    #[test]
    fn anywhere_else_the_command_is_told() {
        for (platform, may_install, missing, expected) in [
            (Platform::Debian, false, &[POSTGRES, NGINX][..], "sudo apt-get install postgresql nginx"),
            (Platform::Ubuntu, true, &[CHROMIUM, CHROMEDRIVER], "sudo snap install chromium"),
            (Platform::Ubuntu, true, &[NGINX, CHROMIUM], "sudo apt-get install nginx\n  sudo snap"),
            (Platform::Fedora, true, &[POSTGRES, WRK], "sudo dnf install postgresql-server wrk"),
            (Platform::Arch, true, &[CHROMIUM, CHROMEDRIVER], "sudo pacman -S chromium\n"),
            (Platform::Alpine, true, &[POSTGRES], "apk add postgresql17"),
            (Platform::Suse, true, &[NGINX], "sudo zypper install nginx"),
            (
                Platform::Mac,
                true,
                &[POSTGRES, CHROMIUM],
                "brew install postgresql@17\n  brew install --cask chromium",
            ),
            (Platform::Other, true, &[POSTGRES], "PostgreSQL 15 or newer: https://www.postgresql.org"),
        ] {
            let Plan::Tell(text) = plan(missing, platform, may_install) else { panic!("{platform:?}") };
            assert!(text.contains(expected), "{platform:?}: {text}");
            assert!(text.starts_with(&format!("Not on this machine: {}", missing[0].title)), "{text}");
        }
    }

    #[test]
    fn versions_are_read_as_the_programs_tell_them() {
        for (told, expected) in [
            ("initdb (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n", Some(15)),
            ("initdb (PostgreSQL) 18beta2\n", Some(18)),
            ("initdb (PostgreSQL) 9.6.24\n", Some(9)),
            ("", None),
        ] {
            assert_eq!(major(told), expected, "{told:?}");
        }
    }
}
