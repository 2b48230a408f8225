//! Data directories, SQL, and owners in processes of their own, to be killed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portero_devpg::{Binaries, Cluster, ClusterOptions, Lifetime, RunningCluster, running};

/// A place for one test's data directory, gone with the test.
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    outer: PathBuf,
}

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        Self::within(name, 0o711)
    }

    /// A data directory in one that only we can search.
    pub(crate) fn closed(name: &str) -> Self {
        Self::within(name, 0o700)
    }

    fn within(name: &str, mode: u32) -> Self {
        // Spaces and the like are usual in people's paths.
        let outer = std::env::temp_dir().join(format!("portero devpg $x-{}-{name}", std::process::id()));
        fs::create_dir_all(&outer).unwrap();
        fs::set_permissions(&outer, fs::Permissions::from_mode(mode)).unwrap();
        let outer = outer.canonicalize().unwrap();
        Self { dir: outer.join("data"), outer }
    }

    pub(crate) fn options(&self) -> ClusterOptions {
        options(&self.dir, Lifetime::WithOwner)
    }

    pub(crate) fn start(&self) -> Cluster {
        Cluster::start(self.options()).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.outer);
    }
}

pub(crate) fn options(data_dir: &Path, lifetime: Lifetime) -> ClusterOptions {
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut options = ClusterOptions::new(Binaries::find(None).unwrap(), data_dir);
    options.lifetime = lifetime;
    options.settings = vec![setting("fsync", "off"), setting("max_connections", "17")];
    options
}

/// Runs a statement as the superuser and returns the first column of its rows.
pub(crate) fn sql(port: u16, password: &str, statement: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(port).user("postgres").password(password).dbname("postgres");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        let messages = client.simple_query(statement).await?;
        let rows = messages.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok(rows.collect())
    })
}

pub(crate) fn ask(cluster: &Cluster, statement: &str) -> Vec<String> {
    sql(cluster.port(), cluster.superuser_password(), statement).unwrap()
}

pub(crate) fn write_a_word(cluster: &Cluster) {
    ask(cluster, "CREATE TABLE words (word text); INSERT INTO words VALUES ('doorman')");
}

pub(crate) fn assert_the_word_is_there(cluster: &Cluster) {
    assert_eq!(ask(cluster, "SELECT word FROM words"), ["doorman"]);
}

/// Polls until there is something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A process that owns the cluster of a data directory: this test binary again, running [`owner`] alone.
pub(crate) struct Owner {
    child: Child,
    data_dir: PathBuf,
}

impl Owner {
    pub(crate) fn spawn(data_dir: &Path, lifetime: Lifetime) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "support::owner", "--nocapture"])
            .env("PORTERO_TEST_OWNS", data_dir)
            .env("PORTERO_TEST_LIFETIME", format!("{lifetime:?}"))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, data_dir: data_dir.into() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until its server accepts connections.
    pub(crate) fn ready(&mut self) -> (RunningCluster, u16) {
        wait_for("the owner's server", || {
            assert_eq!(self.child.try_wait().unwrap(), None, "the owner ended");
            let running = running(&self.data_dir).unwrap()?;
            let port = running.port?;
            Some((running, port))
        })
    }

    /// SIGKILL, to it and to all of its process group.
    pub(crate) fn kill(mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        self.child.wait().unwrap();
    }
}

/// Not a test: what [`Owner::spawn`] runs.
#[test]
fn owner() {
    let Some(data_dir) = std::env::var_os("PORTERO_TEST_OWNS") else { return };
    let lifetime = match std::env::var("PORTERO_TEST_LIFETIME").unwrap().as_str() {
        "Lasting" => Lifetime::Lasting,
        "WithOwner" => Lifetime::WithOwner,
        _ => Lifetime::Throwaway,
    };
    let cluster = Cluster::start(options(Path::new(&data_dir), lifetime)).unwrap();
    // Until killed; an end of its own, in case whoever should have killed us is gone.
    std::thread::sleep(Duration::from_secs(120));
    drop(cluster);
}

pub(crate) fn pid_in_file(location: &Path) -> u32 {
    let text = fs::read_to_string(location.join("postmaster.pid")).unwrap();
    text.lines().next().unwrap().parse().unwrap()
}

pub(crate) fn pid(raw: u32) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(raw.try_into().unwrap()).unwrap()
}

/// A zombie isn't: an orphan stays one until the system's first process gets round to it.
pub(crate) fn is_alive(raw: u32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &raw.to_string()]).output().unwrap();
    let state = String::from_utf8(output.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}
