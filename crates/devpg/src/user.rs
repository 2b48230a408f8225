//! Whom the server runs as.
//!
//! PostgreSQL refuses to run as root. Where we are root, its programs run as another user, who must own the cluster
//! and be able to get to it; otherwise they run as ourselves and none of this matters. Where the cluster goes when that
//! user can't get to the data directory is decided in `home.rs`.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::DevPgError;

/// Who runs PostgreSQL's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerUser {
    /// Whoever we are.
    Ourselves,
    /// Somebody else, since we are root.
    Other { uid: u32, gid: u32, name: String },
}

impl ServerUser {
    /// The owner of the cluster, where there is one: a cluster made by an ordinary user and then started by root stays
    /// that user's. Otherwise `postgres`, or else `nobody`.
    pub(crate) fn for_cluster(cluster: &Path) -> Result<Self, DevPgError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ourselves);
        }
        let owner = fs::metadata(cluster).ok().filter(|meta| meta.uid() != 0);
        if let Some(meta) = owner {
            return Ok(Self::Other { uid: meta.uid(), gid: meta.gid(), name: meta.uid().to_string() });
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let known = |name: &str| {
            ids_in(&passwd, name).map(|(uid, gid)| Self::Other { uid, gid, name: name.to_owned() })
        };
        known("postgres").or_else(|| known("nobody")).ok_or(DevPgError::NoServerUser)
    }

    /// The name for messages.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Ourselves => "you",
            Self::Other { name, .. } => name,
        }
    }

    /// A command as that user. Its directory is `/`, as ours may be closed to the user and `initdb` wants to know
    /// where it is; variables that would steer PostgreSQL are gone; its messages are in English, and its process group
    /// is its own, so that Ctrl-C in a terminal reaches us and not it.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").stdin(Stdio::null()).process_group(0);
        command.env("LC_ALL", "C").env_remove("LANGUAGE");
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("PG")) {
            command.env_remove(key);
        }
        if let Self::Other { uid, gid, .. } = self {
            // As root, std drops the supplementary groups along with the user.
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// Makes the user the owner of `path`.
    pub(crate) fn give(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Other { uid, gid, .. } => chown(path, Some(*uid), Some(*gid)),
        }
    }

    /// Can the user get into `dir`? Asked by going there as that user: the modes of all the directories above say it
    /// too, but not access lists, mounts and what else a system may have.
    pub(crate) fn can_reach(&self, dir: &Path) -> bool {
        if *self == Self::Ourselves {
            return true;
        }
        let mut probe = self.command(Path::new("/bin/sh"));
        probe.args(["-c", "cd -- \"$1\"", "sh"]).arg(dir).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    }
}

/// The user and group ids of `name` in the text of a passwd file. Some systems write `nobody` as -2.
fn ids_in(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        let (uid, gid) = (fields.nth(1)?, fields.next()?);
        is_it.then(|| Some((id(uid)?, id(gid)?))).flatten()
    })
}

fn id(text: &str) -> Option<u32> {
    text.parse().ok().or_else(|| text.parse::<i32>().ok().map(i32::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn users_are_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n# a comment\nbroken\nnot_postgres:x:7:7::/:/bin/sh\n\
                      postgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/bash\nnobody:*:-2:-2::/:/usr/bin/false\n";
        assert_eq!(ids_in(passwd, "postgres"), Some((101, 104)));
        assert_eq!(ids_in(passwd, "nobody"), Some((u32::MAX - 1, u32::MAX - 1)));
        assert_eq!(ids_in(passwd, "broken"), None);
        assert_eq!(ids_in(passwd, "mallory"), None);
    }

    #[test]
    fn a_closed_directory_above_is_seen() {
        let user = ServerUser::for_cluster(Path::new("/nowhere")).unwrap();
        let outer = std::env::temp_dir().join(format!("portero-user-{}", std::process::id()));
        let inner = outer.join("inner");
        fs::create_dir_all(&inner).unwrap();
        for dir in [&outer, &inner] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o711)).unwrap();
        }
        assert!(user.can_reach(&inner));
        fs::set_permissions(&outer, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(user.can_reach(&inner), user == ServerUser::Ourselves);
        fs::remove_dir_all(&outer).unwrap();
    }
}
