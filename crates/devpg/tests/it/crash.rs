//! What is left after crashes and kills, and how it is dealt with.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use portero_devpg::{Cluster, Lifetime, StopMode, running};
use rustix::process::{Signal, getpgid, kill_process};

use crate::support::{
    Owner, Place, assert_the_word_is_there, is_alive, pid, pid_in_file, sql, wait_for, write_a_word,
};

#[test]
fn a_killed_postmaster_is_started_again_with_all_data() {
    let place = Place::new("postmaster");
    let mut cluster = place.start();
    write_a_word(&cluster);
    let port = cluster.port();
    cluster.restart(StopMode::Kill).unwrap();
    assert_the_word_is_there(&cluster);

    kill_process(pid(cluster.postmaster_pid().unwrap()), Signal::KILL).unwrap();
    wait_for("the crash to be seen", || (!cluster.is_alive()).then_some(()));
    cluster.resume().unwrap();
    assert_the_word_is_there(&cluster);

    kill_process(pid(cluster.postmaster_pid().unwrap()), Signal::KILL).unwrap();
    drop(cluster);
    let cluster = place.start();
    assert_the_word_is_there(&cluster);
    assert_eq!(cluster.port(), port);
}

#[test]
fn a_busy_session_of_a_killed_postmaster_does_not_stand_in_the_way() {
    let place = Place::new("busy");
    let mut cluster = place.start();
    write_a_word(&cluster);
    let (port, password) = (cluster.port(), cluster.superuser_password().to_owned());
    // Never waits for anything, so it never notices that its postmaster is gone.
    let busy = std::thread::spawn(move || {
        sql(
            port,
            &password,
            "DO $$ BEGIN PERFORM count(*) FROM generate_series(1, 100000000000) AS n; END $$",
        )
    });
    let count = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'";
    wait_for("the busy session", || {
        (sql(port, cluster.superuser_password(), count).unwrap() == ["1"]).then_some(())
    });
    cluster.restart(StopMode::Kill).unwrap();
    assert_the_word_is_there(&cluster);
    assert!(busy.join().unwrap().is_err());
}

#[test]
fn the_server_of_a_killed_owner_is_taken_down_and_its_data_kept() {
    let place = Place::new("orphan");
    let mut owner = Owner::spawn(&place.dir, Lifetime::Lasting);
    let (seen, port) = owner.ready();
    assert_eq!(seen.owner_pid, Some(owner.pid()));
    let password = seen.superuser_password().unwrap();
    sql(port, &password, "CREATE TABLE words (word text); INSERT INTO words VALUES ('doorman')").unwrap();
    let orphan = pid_in_file(&seen.location);
    // Ctrl-C in a terminal goes to the owner's process group.
    assert_ne!(getpgid(Some(pid(orphan))).unwrap(), pid(owner.pid()));
    owner.kill();
    assert!(is_alive(orphan));
    assert_eq!(running(&place.dir).unwrap(), None);
    assert_eq!(sql(port, &password, "SELECT 1").unwrap(), ["1"]);

    let cluster = place.start();
    assert_ne!(cluster.postmaster_pid(), Some(orphan));
    assert!(!is_alive(orphan));
    assert_eq!(cluster.port(), port);
    assert_the_word_is_there(&cluster);
    let log = fs::read_to_string(cluster.log_file()).unwrap();
    assert!(log.contains("database system was shut down at"), "taken down in order: {log}");
}

#[test]
fn the_watchdog_stops_the_server_of_a_killed_owner_and_keeps_the_data() {
    let place = Place::new("watchdog");
    let mut owner = Owner::spawn(&place.dir, Lifetime::WithOwner);
    let (seen, port) = owner.ready();
    let postmaster = pid_in_file(&seen.location);
    owner.kill();
    wait_for("the server's end", || (!is_alive(postmaster)).then_some(()));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(seen.location.join("PG_VERSION").exists());
    let cluster = place.start();
    let log = fs::read_to_string(cluster.log_file()).unwrap();
    assert!(log.contains("database system was shut down at"), "stopped in order: {log}");
}

#[test]
fn the_watchdog_deletes_a_throwaway_of_a_killed_owner() {
    let place = Place::new("throwaway");
    let mut owner = Owner::spawn(&place.dir, Lifetime::Throwaway);
    let (seen, _) = owner.ready();
    let postmaster = pid_in_file(&seen.location);
    owner.kill();
    wait_for("the directory's end", || (!place.dir.exists()).then_some(()));
    assert!(!is_alive(postmaster));
}

#[test]
fn an_interrupted_initdb_does_not_poison_the_next_start() {
    let place = Place::new("initdb");
    let owner = Owner::spawn(&place.dir, Lifetime::Lasting);
    let begun = || {
        let mut benches = fs::read_dir(place.dir.join("initdb")).ok()?;
        benches.find_map(|bench| bench.ok()?.path().join("pg/PG_VERSION").exists().then_some(()))
    };
    wait_for("initdb to begin", begun);
    owner.kill();
    assert!(!place.dir.join("pg").exists(), "the kill came too late");

    let cluster = place.start();
    write_a_word(&cluster);
    assert_the_word_is_there(&cluster);
    cluster.stop().unwrap();
    // The killed owner's initdb may have gone on writing for a while, or another start was interrupted.
    fs::create_dir_all(place.dir.join("initdb/left/pg")).unwrap();
    place.start();
    assert!(!place.dir.join("initdb").exists());
}

#[test]
fn a_foreign_process_with_the_pid_of_the_postmaster_is_left_alone() {
    let place = Place::new("foreign");
    place.start().stop().unwrap();
    let location = place.dir.join("pg");
    // Of the same user as the server, which would refuse to start beside it.
    let mut foreign = Command::new("sleep");
    foreign.arg("120");
    if rustix::process::geteuid().is_root() {
        let owner = fs::metadata(&location).unwrap();
        foreign.uid(owner.uid()).gid(owner.gid());
    }
    let mut foreign = foreign.spawn().unwrap();
    let text = format!("{}\n{}\n1700000000\n5432\n\n127.0.0.1\n", foreign.id(), location.display());
    fs::write(location.join("postmaster.pid"), text).unwrap();

    let started = Cluster::start(place.options());
    let alive = foreign.try_wait().unwrap().is_none();
    foreign.kill().unwrap();
    foreign.wait().unwrap();
    started.unwrap();
    assert!(alive);
}
