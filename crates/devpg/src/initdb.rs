//! Making a cluster, and its superuser's password.
//!
//! A cluster is made in a directory of its own under `initdb/` and moved into its place when it is done, so a `pg` that
//! exists is a whole one: whatever interrupts `initdb`, SIGKILL included, leaves only something to sweep. The password
//! is written before the move, so a cluster that exists has one. Running the cluster is `server.rs`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::error::{DevPgError, io};
use crate::home::{self, Home};
use crate::user::ServerUser;

/// The superuser's name in every cluster made here.
pub(crate) const SUPERUSER: &str = "postgres";

/// Makes the cluster and returns the superuser's password. Without `durable`, the files may still be on their way to
/// the disk: quicker, and good enough for a cluster that runs with `fsync=off`.
pub(crate) fn create(
    home: &Home,
    user: &ServerUser,
    bin_dir: &Path,
    durable: bool,
) -> Result<String, DevPgError> {
    let password = new_password()?;
    let workshop = home.workshop();
    home::make_dir(&workshop, 0o711)?;
    let bench = workshop.join(new_password()?);
    home::make_dir(&bench, 0o700)?;
    let password_file = bench.join("password");
    home::write_file(&password_file, password.as_bytes(), 0o600)?;
    for path in [&password_file, &bench] {
        user.give(path).map_err(io("change the owner of", path))?;
    }

    let program = bin_dir.join("initdb");
    let made = bench.join(home::CLUSTER);
    let mut initdb = user.command(&program);
    initdb.args([
        "--encoding=UTF8",
        "--locale=C",
        "--auth=scram-sha-256",
        "--data-checksums",
        "--no-instructions",
    ]);
    initdb.arg(format!("--username={SUPERUSER}")).arg("--pwfile").arg(&password_file).arg("-D").arg(&made);
    if !durable {
        initdb.arg("--no-sync");
    }
    finish(&program, initdb.output())?;

    home::write_file(&home.password_file(), format!("{password}\n").as_bytes(), 0o600)?;
    let cluster = home.cluster();
    fs::rename(&made, &cluster).map_err(io("move into its place", &made))?;
    home::sync_dir(&home.root)?;
    sweep(home);
    Ok(password)
}

/// Deletes what an interrupted [`create`] left. The `initdb` of a killed owner may still be at work in there; it fails
/// when its directory goes, and what it manages to write until then goes the next time.
pub(crate) fn sweep(home: &Home) {
    let _ = home::remove(&home.workshop());
}

/// The password of a cluster that exists. If the file is gone, the cluster gets a new one, by way of a server that
/// talks to nobody but us.
pub(crate) fn password_of(home: &Home, user: &ServerUser, bin_dir: &Path) -> Result<String, DevPgError> {
    let path = home.password_file();
    match fs::read_to_string(&path) {
        Ok(text) => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(io("read", &path)(error)),
    }
    let password = new_password()?;
    let program = bin_dir.join("postgres");
    let mut server = user.command(&program);
    server.args(["--single", "-c", "exit_on_error=on", "-D"]).arg(home.cluster()).arg("postgres");
    let statement = format!("ALTER ROLE {SUPERUSER} PASSWORD '{password}'\n");
    finish(&program, output_with_input(server, &statement))?;
    home::write_file(&path, format!("{password}\n").as_bytes(), 0o600)?;
    Ok(password)
}

/// 128 bits at random, in hexadecimal: nothing in it wants quoting anywhere.
fn new_password() -> Result<String, DevPgError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| io("read random bytes from", Path::new("the system"))(e.into()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn output_with_input(mut command: Command, input: &str) -> std::io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ended before reading says why in its output.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

fn finish(program: &Path, output: std::io::Result<Output>) -> Result<(), DevPgError> {
    let output = output.map_err(|source| DevPgError::Program { program: program.into(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    Err(DevPgError::ProgramFailed { program: program.into(), output: format!("{said}\n({})", output.status) })
}
