//! How one installs PostgreSQL here: the sentence for when none was found.
//!
//! Decides from the platform's name alone; looks for nothing.

use std::fs;

/// The command for the machine this runs on.
pub(crate) fn command_for_this_machine() -> &'static str {
    let os_release =
        ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| fs::read_to_string(path).ok());
    command(std::env::consts::OS, os_release.as_deref().unwrap_or(""))
}

fn command(os: &str, os_release: &str) -> &'static str {
    if os == "macos" {
        return "brew install postgresql@17";
    }
    let families = families(os_release);
    let is = |names: &[&str]| families.iter().any(|family| names.contains(&family.as_str()));
    if is(&["debian", "ubuntu"]) {
        "sudo apt install postgresql"
    } else if is(&["fedora", "rhel", "centos"]) {
        "sudo dnf install postgresql-server"
    } else if is(&["arch"]) {
        "sudo pacman -S postgresql"
    } else if is(&["alpine"]) {
        "apk add postgresql17"
    } else if is(&["suse", "opensuse"]) {
        "sudo zypper install postgresql-server"
    } else {
        "the package of your system that holds `initdb` and `postgres`"
    }
}

/// The words of `ID` and `ID_LIKE` in an os-release file.
fn families(os_release: &str) -> Vec<String> {
    os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches(['"', '\'']).split_whitespace())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_gets_its_own_command() {
        for (os, os_release, expected) in [
            ("linux", "NAME=\"Debian GNU/Linux\"\nID=debian\n", "apt"),
            ("linux", "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "apt"),
            ("linux", "ID=fedora\n", "dnf"),
            ("linux", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf"),
            ("linux", "ID=arch\n", "pacman"),
            ("linux", "ID=alpine\n", "apk"),
            ("linux", "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", "zypper"),
            ("linux", "VERSION_ID=debian\n", "the package"),
            ("linux", "", "the package"),
            ("macos", "ID=debian\n", "brew"),
        ] {
            assert!(command(os, os_release).contains(expected), "{os} {os_release:?}");
        }
    }
}
