//! Which system this is, and how one installs something there.

use super::Need;
use std::{env, fs};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Platform {
    Debian,
    Ubuntu,
    Fedora,
    Arch,
    Alpine,
    Suse,
    Mac,
    Other,
}

impl Platform {
    pub(super) fn of_this_machine() -> Self {
        let paths = ["/etc/os-release", "/usr/lib/os-release"];
        let os_release = paths.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        Self::of(env::consts::OS, &os_release)
    }

    fn of(os: &str, os_release: &str) -> Self {
        if os == "macos" {
            return Self::Mac;
        }
        let value = |key: &str| {
            let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches(['"', '\''])
        };
        let mut families = value("ID").split(' ').chain(value("ID_LIKE").split(' '));
        families.find_map(Self::family).unwrap_or(Self::Other)
    }

    fn family(id: &str) -> Option<Self> {
        Some(match id {
            "ubuntu" => Self::Ubuntu,
            "debian" => Self::Debian,
            "fedora" | "rhel" | "centos" => Self::Fedora,
            "arch" => Self::Arch,
            "alpine" => Self::Alpine,
            "suse" | "opensuse" => Self::Suse,
            _ => return None,
        })
    }

    /// The packages that apt installs for a need; none where apt has none.
    pub(super) fn apt_packages(self, need: &Need) -> Option<&'static [&'static str]> {
        match self {
            Self::Debian => Some(need.debian),
            Self::Ubuntu => Some(need.ubuntu.unwrap_or(need.debian)).filter(|packages| !packages.is_empty()),
            _ => None,
        }
    }

    /// What a person types to get these, a command a line; a place to look where there is no command.
    pub(super) fn commands(self, needs: &[Need]) -> Vec<String> {
        let (with, package): (&str, fn(&Need) -> &'static str) = match self {
            Self::Debian | Self::Ubuntu => return self.apt_commands(needs),
            Self::Mac => return distinct(needs.iter().map(|need| format!("brew install {}", need.brew))),
            Self::Other => {
                return distinct(needs.iter().map(|need| format!("{}: {}", need.title, need.advice)));
            }
            Self::Fedora => ("sudo dnf install", |need| need.fedora),
            Self::Arch => ("sudo pacman -S", |need| need.arch),
            Self::Alpine => ("apk add", |need| need.alpine),
            Self::Suse => ("sudo zypper install", |need| need.suse),
        };
        let packages = distinct(needs.iter().map(|need| package(need).to_owned()));
        vec![format!("{with} {}", packages.join(" "))]
    }

    fn apt_commands(self, needs: &[Need]) -> Vec<String> {
        let packages = distinct(
            needs.iter().filter_map(|need| self.apt_packages(need)).flatten().map(ToString::to_string),
        );
        let others = needs.iter().filter(|need| self.apt_packages(need).is_none());
        let mut commands = distinct(others.map(|need| need.advice.to_owned()));
        if !packages.is_empty() {
            commands.insert(0, format!("sudo apt-get install {}", packages.join(" ")));
        }
        // Debian 11 and Ubuntu 22.04 have one that is too old.
        if needs.contains(&super::POSTGRES) {
            commands.push(
                "(if its PostgreSQL is older than 15: https://wiki.postgresql.org/wiki/Apt)".to_owned(),
            );
        }
        commands
    }
}

fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for text in texts {
        if !kept.contains(&text) {
            kept.push(text);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_known_by_its_own_name_or_its_family_s() {
        for (os, os_release, expected) in [
            ("linux", "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n", Platform::Debian),
            ("linux", "ID=ubuntu\nID_LIKE=debian\n", Platform::Ubuntu),
            ("linux", "ID_LIKE=\"ubuntu debian\"\nID=linuxmint\n", Platform::Ubuntu),
            ("linux", "ID=raspbian\nID_LIKE=debian\n", Platform::Debian),
            ("linux", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", Platform::Fedora),
            ("linux", "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", Platform::Suse),
            ("linux", "VERSION_ID=debian\n", Platform::Other),
            ("linux", "", Platform::Other),
            ("macos", "ID=debian\n", Platform::Mac),
        ] {
            assert_eq!(Platform::of(os, os_release), expected, "{os_release:?}");
        }
    }
}
