//! Places on disk: below the target directory, one per test process, swept when their process is gone.

use rustix::process::{Pid, test_kill_process};
use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

static HOME: LazyLock<PathBuf> = LazyLock::new(|| {
    let all = target_dir().join("tmp").join("portero-testkit");
    make(&all);
    sweep(&all);
    let home = all.join(process::id().to_string());
    make(&home);
    home
});

/// The binary under test, as it was when this process began: another build meanwhile doesn't replace it under a test.
static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
    // Set by Cargo since 1.95; before, the binary is where Cargo always puts it.
    let built = env::var_os("CARGO_BIN_EXE_portero")
        .map_or_else(|| target_dir().join("debug").join("portero"), PathBuf::from);
    let kept = HOME.join("portero");
    fs::hard_link(&built, &kept).or_else(|_| fs::copy(&built, &kept).map(drop)).unwrap_or_else(|error| {
        panic!("{} is not there: run this through `cargo test`: {error}", built.display())
    });
    kept
});

/// A new directory for one test's files. It goes when the process has ended, with the next run.
#[must_use]
pub fn scratch_dir(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let dir = HOME.join(format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    make(&dir);
    dir
}

pub(crate) fn binary() -> &'static Path {
    &BINARY
}

/// Test binaries are in `target/debug/deps`.
pub(crate) fn target_dir() -> PathBuf {
    let me = env::current_exe().expect("a process has a file");
    me.ancestors().nth(3).expect("a test binary is three levels below the target directory").to_path_buf()
}

/// Open to passers-by, as a server that runs as another user must get through; nobody else can list it.
fn make(dir: &Path) {
    fs::create_dir_all(dir).unwrap_or_else(|error| panic!("{} can't be made: {error}", dir.display()));
    fs::set_permissions(dir, fs::Permissions::from_mode(0o711))
        .expect("the mode of one's own directory can be set");
}

/// Removes what processes left that are gone.
fn sweep(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if pid.is_some_and(|pid| test_kill_process(pid).is_err()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
