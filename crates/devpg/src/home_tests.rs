//! Where clusters go, on made-up directories. What needs another user is skipped where we aren't root.

use super::*;

struct Made(PathBuf);

impl Made {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("portero-home-{}-{name}", std::process::id()));
        make_dir(&dir, 0o711).unwrap();
        Self(dir.canonicalize().unwrap())
    }

    fn data_dir(&self, mode: u32) -> PathBuf {
        let dir = self.0.join("closed");
        make_dir(&dir, mode).unwrap();
        open_data_dir(&dir.join("data")).unwrap()
    }

    fn settle(&self, data_dir: &Path) -> Result<(Home, ServerUser), DevPgError> {
        Home::settle(data_dir.into(), &self.0.join("elsewhere"))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn we_are_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_reachable_data_directory_holds_its_cluster() {
    let made = Made::new("here");
    let data_dir = made.data_dir(0o711);
    let (home, _) = made.settle(&data_dir).unwrap();
    assert_eq!(home.cluster(), data_dir.join("pg"));
    let mode = fs::metadata(&data_dir).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, if we_are_root() { 0o711 } else { 0o700 });
}

#[test]
fn an_unreachable_one_has_it_elsewhere_and_remembers_when_permissions_change() {
    if !we_are_root() {
        return;
    }
    let made = Made::new("elsewhere");
    let data_dir = made.data_dir(0o700);
    let (home, _) = made.settle(&data_dir).unwrap();
    assert!(home.root.starts_with(made.0.join("elsewhere")), "{home:?}");
    home.claim().unwrap();

    chmod(&made.0.join("closed"), 0o711);
    assert_eq!(made.settle(&data_dir).unwrap().0, home);
}

#[test]
fn a_cluster_that_became_unreachable_is_not_mistaken_for_none() {
    if !we_are_root() {
        return;
    }
    let made = Made::new("shut");
    let data_dir = made.data_dir(0o711);
    fs::create_dir(data_dir.join("pg")).unwrap();
    chmod(&made.0.join("closed"), 0o700);
    let error = made.settle(&data_dir).unwrap_err();
    assert!(matches!(&error, DevPgError::Unreachable { path, .. } if *path == data_dir), "{error}");
}

#[test]
fn a_cluster_whose_data_directory_was_deleted_is_set_aside() {
    if !we_are_root() {
        return;
    }
    let made = Made::new("aside");
    let data_dir = made.data_dir(0o700);
    let (home, _) = made.settle(&data_dir).unwrap();
    home.claim().unwrap();
    fs::create_dir(home.cluster()).unwrap();
    home.claim().unwrap();
    assert!(home.cluster().exists(), "claimed before, so nothing to set aside");

    fs::remove_dir_all(&data_dir).unwrap();
    open_data_dir(&data_dir).unwrap();
    let (again, _) = made.settle(&data_dir).unwrap();
    again.claim().unwrap();
    assert_eq!(again, home);
    assert!(!home.cluster().exists());
    let kept =
        fs::read_dir(&home.root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(kept.filter(|name| name.starts_with("pg.abandoned-")).count(), 1);
}

#[test]
fn a_wipe_leaves_what_belongs_to_others() {
    let made = Made::new("wipe");
    let data_dir = made.data_dir(0o711);
    let (home, _) = made.settle(&data_dir).unwrap();
    home.remember_port(20_000).unwrap();
    assert_eq!(home.last_port(), Some(20_000));
    fs::create_dir(home.cluster()).unwrap();
    fs::write(data_dir.join("master.key"), "theirs").unwrap();
    home.wipe().unwrap();
    let left: Vec<_> = fs::read_dir(&data_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["master.key"]);
    fs::remove_file(data_dir.join("master.key")).unwrap();
    home.wipe().unwrap();
    assert!(!data_dir.exists());
}

#[test]
fn files_are_written_whole_with_their_mode() {
    let made = Made::new("files");
    let path = made.0.join("secret");
    write_file(&path, b"one", 0o600).unwrap();
    write_file(&path, b"two", 0o600).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
