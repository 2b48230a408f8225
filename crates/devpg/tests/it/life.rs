//! The ordinary life of a cluster.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use portero_devpg::{Binaries, Cluster, DevPgError, Lifetime, StopMode, running};

use crate::support::{Place, ask, assert_the_word_is_there, is_alive, sql, write_a_word};

#[test]
fn data_password_and_port_survive_a_stop_and_a_start() {
    let place = Place::new("survive");
    let cluster = place.start();
    write_a_word(&cluster);
    let (port, password, pid) =
        (cluster.port(), cluster.superuser_password().to_owned(), cluster.postmaster_pid().unwrap());
    assert_eq!(cluster.location(), place.dir.join("pg"));
    assert_eq!(cluster.version(), Binaries::find(None).unwrap().version());
    cluster.stop().unwrap();
    assert!(!is_alive(pid));

    let cluster = place.start();
    assert_eq!((cluster.port(), cluster.superuser_password()), (port, password.as_str()));
    assert_the_word_is_there(&cluster);
}

#[test]
fn a_cluster_is_made_as_promised() {
    let place = Place::new("promised");
    let cluster = place.start();
    for (name, expected) in [
        ("server_encoding", "UTF8"),
        ("data_checksums", "on"),
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("max_connections", "17"),
        ("lc_messages", "C"),
        ("password_encryption", "scram-sha-256"),
    ] {
        assert_eq!(ask(&cluster, &format!("SHOW {name}")), [expected], "{name}");
    }
    assert_eq!(ask(&cluster, "SELECT datcollate FROM pg_database WHERE datname = 'template1'"), ["C"]);
    let refused = sql(cluster.port(), "a guess", "SELECT 1").unwrap_err();
    assert_eq!(refused.code(), Some(&tokio_postgres::error::SqlState::INVALID_PASSWORD));

    let mode = |name: &str| fs::metadata(place.dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("superuser.password"), mode("pg"), mode("server.log")), (0o600, 0o700, 0o600));
    assert!(!format!("{cluster:?}").contains(cluster.superuser_password()));
}

#[test]
fn the_callers_hba_lines_are_the_ones_in_force_at_each_start() {
    let place = Place::new("hba");
    let mut options = place.options();
    options.hba = vec!["host all postgres 127.0.0.1/32 trust".into()];
    let cluster = Cluster::start(options.clone()).unwrap();
    assert_eq!(sql(cluster.port(), "no matter", "SELECT 1").unwrap(), ["1"]);
    cluster.stop().unwrap();

    options.hba = vec!["host all postgres 127.0.0.1/32 scram-sha-256".into()];
    let cluster = Cluster::start(options).unwrap();
    assert!(sql(cluster.port(), "no matter", "SELECT 1").is_err());
    assert_eq!(ask(&cluster, "SELECT 1"), ["1"]);
}

#[test]
fn a_second_owner_is_refused_and_told_who_the_first_is() {
    let place = Place::new("second");
    assert_eq!(running(&place.dir).unwrap(), None);
    let cluster = place.start();
    let error = Cluster::start(place.options()).unwrap_err();
    let us = Some(std::process::id());
    assert!(
        matches!(&error, DevPgError::InUse { data_dir, pid } if *data_dir == place.dir && *pid == us),
        "{error}"
    );

    let seen = running(&place.dir).unwrap().unwrap();
    assert_eq!((seen.owner_pid, seen.port, &seen.location), (us, Some(cluster.port()), &cluster.location()));
    assert_eq!(seen.superuser_password().unwrap(), cluster.superuser_password());
    assert_eq!(ask(&cluster, "SELECT 1"), ["1"]);
    cluster.stop().unwrap();
    assert_eq!(running(&place.dir).unwrap(), None);
}

#[test]
fn looking_whether_one_runs_does_not_disturb_a_start() {
    let place = Place::new("looking");
    place.start().stop().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let look = || {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                running(&place.dir).unwrap();
            }
        };
        scope.spawn(look);
        scope.spawn(look);
        for _ in 0..3 {
            let result = Cluster::start(place.options()).and_then(Cluster::stop);
            if result.is_err() {
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            result.unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_port_that_somebody_took_is_replaced() {
    let place = Place::new("port");
    let mut cluster = place.start();
    let first = cluster.port();
    cluster.halt(StopMode::Fast).unwrap();
    assert_eq!((cluster.postmaster_pid(), running(&place.dir).unwrap().unwrap().port), (None, None));
    let squatter = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
    cluster.resume().unwrap();
    let second = cluster.port();
    assert_ne!(second, first);
    assert_eq!(running(&place.dir).unwrap().unwrap().port, Some(second));
    drop(squatter);
    cluster.restart(StopMode::Fast).unwrap();
    assert_eq!((cluster.port(), ask(&cluster, "SHOW port")), (second, vec![second.to_string()]));
}

#[test]
fn a_server_that_cannot_start_shows_the_end_of_its_log() {
    let place = Place::new("log");
    let mut options = place.options();
    options.settings.push(("max_connections".into(), "many".into()));
    let error = Cluster::start(options).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, DevPgError::StartFailed { .. }), "{text}");
    assert!(text.contains("invalid value for parameter \"max_connections\""), "{text}");
    // And no harm is done.
    place.start();
}

#[test]
fn a_server_that_takes_too_long_is_stopped_again() {
    let place = Place::new("slow");
    let mut options = place.options();
    options.start_timeout = Duration::ZERO;
    let error = Cluster::start(options).unwrap_err();
    assert!(matches!(error, DevPgError::StartTimeout { .. }), "{error}");
    // Its file may be left behind, where it was stopped before it could catch the signal; nobody is there.
    assert!(running(&place.dir).unwrap().is_none());
    place.start();
}

#[test]
fn a_cluster_of_a_major_that_is_not_installed_is_refused() {
    let place = Place::new("major");
    place.start().stop().unwrap();
    let version_file = place.dir.join("pg/PG_VERSION");
    let major = fs::read_to_string(&version_file).unwrap();
    fs::write(&version_file, "99\n").unwrap();
    let error = Cluster::start(place.options()).unwrap_err();
    assert!(matches!(error, DevPgError::WrongMajor { cluster: 99, .. }), "{error}");
    fs::write(&version_file, "").unwrap();
    let error = Cluster::start(place.options()).unwrap_err();
    assert!(matches!(error, DevPgError::NotACluster { .. }), "{error}");
    fs::write(&version_file, major).unwrap();
    place.start();
}

#[test]
fn a_lost_password_is_replaced() {
    let place = Place::new("password");
    let cluster = place.start();
    write_a_word(&cluster);
    let old = cluster.superuser_password().to_owned();
    cluster.stop().unwrap();
    fs::remove_file(place.dir.join("superuser.password")).unwrap();
    let cluster = place.start();
    assert_ne!(cluster.superuser_password(), old);
    assert_the_word_is_there(&cluster);
    assert!(sql(cluster.port(), &old, "SELECT 1").is_err());
}

#[test]
fn a_wipe_takes_everything_and_so_does_the_end_of_a_throwaway() {
    let place = Place::new("wipe");
    let cluster = place.start();
    let pid = cluster.postmaster_pid().unwrap();
    cluster.wipe().unwrap();
    assert!(!place.dir.exists() && !is_alive(pid));

    let mut options = place.options();
    options.lifetime = Lifetime::Throwaway;
    let cluster = Cluster::start(options).unwrap();
    let pid = cluster.postmaster_pid().unwrap();
    drop(cluster);
    assert!(!place.dir.exists() && !is_alive(pid));
}

#[test]
fn below_a_closed_directory_the_cluster_of_root_lives_elsewhere() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::closed("closed");
    let cluster = place.start();
    write_a_word(&cluster);
    let location = cluster.location();
    assert!(location.starts_with("/var/lib/portero"), "{location:?}");
    assert_ne!(fs::metadata(&location).unwrap().uid(), 0);
    assert_eq!(running(&place.dir).unwrap().unwrap().location, location);
    cluster.stop().unwrap();

    // A copy of the data directory means the same cluster, so it is as much in use as the original.
    let copy = Place::closed("copy");
    fs::create_dir_all(&copy.dir).unwrap();
    fs::copy(place.dir.join("cluster.location"), copy.dir.join("cluster.location")).unwrap();
    let cluster = place.start();
    assert!(matches!(Cluster::start(copy.options()), Err(DevPgError::InUse { .. })));
    assert_the_word_is_there(&cluster);
    cluster.wipe().unwrap();
    assert!(!location.exists() && !place.dir.exists());
}
