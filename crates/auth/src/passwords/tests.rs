//! Tests of `passwords.rs`: real argon2id at its real cost.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::time::timeout;

const RAW: &str = "kite-lantern-92";

fn candidate(raw: &str) -> SecretString {
    SecretString::from(raw)
}

/// Hashes `raw` with other parameters than the service's.
fn phc(algorithm: argon2::Algorithm, version: Version, params: Params) -> String {
    Argon2::new(algorithm, version, params).hash_password(RAW.as_bytes()).unwrap().to_string()
}

fn argon2id_phc(m: u32, t: u32, p: u32, output: usize) -> String {
    phc(argon2::Algorithm::Argon2id, Version::V0x13, Params::new(m, t, p, Some(output)).unwrap())
}

#[tokio::test]
async fn a_password_verifies_against_its_hash_and_no_other_does() {
    let passwords = Passwords::default();
    let password = Password::parse(RAW, &[]).unwrap();
    let stored = passwords.hash(&password).await.unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    assert_ne!(stored, passwords.hash(&password).await.unwrap(), "each hash has its salt");
    let verdict = passwords.verify(candidate(RAW), Some(&stored)).await.unwrap();
    assert_eq!(verdict, Verdict::Match { rehash: false });
    for other in ["", "kite-lantern-93", "Kite-lantern-92", " kite-lantern-92", "kite-lantern-92\0"] {
        let verdict = passwords.verify(candidate(other), Some(&stored)).await.unwrap();
        assert_eq!(verdict, Verdict::Mismatch, "{other:?}");
    }
}

#[tokio::test]
async fn all_128_characters_count_and_a_longer_candidate_never_matches() {
    let passwords = Passwords::default();
    let raw = format!("Zq7!tR9w{}", "é".repeat(120));
    let stored = passwords.hash(&Password::parse(&raw, &[]).unwrap()).await.unwrap();
    let shorter = raw.strip_suffix('é').unwrap();
    assert_eq!(
        passwords.verify(candidate(&raw), Some(&stored)).await.unwrap(),
        Verdict::Match { rehash: false }
    );
    assert_eq!(passwords.verify(candidate(shorter), Some(&stored)).await.unwrap(), Verdict::Mismatch);
    let long = "x".repeat(129);
    let of_long = argon2id().hash_password(long.as_bytes()).unwrap().to_string();
    let of_nothing = argon2id().hash_password(b"").unwrap().to_string();
    for stored in [&of_long, &of_nothing] {
        assert_eq!(passwords.verify(candidate(&long), Some(stored)).await.unwrap(), Verdict::Mismatch);
    }
}

#[tokio::test]
async fn nobody_has_no_password() {
    let passwords = Passwords::default();
    for raw in ["", RAW, "nobody"] {
        assert_eq!(passwords.verify(candidate(raw), None).await.unwrap(), Verdict::Mismatch);
    }
}

#[test]
fn the_dummy_costs_what_a_new_hash_costs() {
    assert!(!is_outdated(&read_stored(DUMMY).unwrap()));
}

#[tokio::test]
async fn other_parameters_within_bounds_verify_and_ask_for_a_new_hash() {
    let passwords = Passwords::default();
    for stored in [
        argon2id_phc(12_288, 3, 1, 32),
        argon2id_phc(47_104, 1, 1, 32),
        argon2id_phc(65_536, 1, 4, 32),
        argon2id_phc(64, 10, 1, 32),
        argon2id_phc(19_456, 2, 1, 16),
    ] {
        let verdict = passwords.verify(candidate(RAW), Some(&stored)).await.unwrap();
        assert_eq!(verdict, Verdict::Match { rehash: true }, "{stored}");
    }
    let renewed = passwords.rehash(candidate(RAW)).await.unwrap();
    let verdict = passwords.verify(candidate(RAW), Some(&renewed)).await.unwrap();
    assert_eq!(verdict, Verdict::Match { rehash: false });
}

#[tokio::test]
async fn absurd_stored_hashes_are_refused_before_anything_is_computed() {
    let with = |params: &str| DUMMY.replace("m=19456,t=2,p=1", params);
    let cases = [
        (String::new(), "PHC"),
        ("kite-lantern-92".to_owned(), "PHC"),
        (format!("{DUMMY}$"), "PHC"),
        ("$2b$12$C6UzMDM.H6dfI/f/IKcEeO7ZxU5h1Gm1d0hQ8Jt0l0q8v0Yx5m5bK".to_owned(), "PHC"),
        (DUMMY.replace("argon2id", "scrypt"), "not argon2id"),
        (phc(argon2::Algorithm::Argon2i, Version::V0x13, Params::DEFAULT), "not argon2id"),
        (phc(argon2::Algorithm::Argon2d, Version::V0x13, Params::DEFAULT), "not argon2id"),
        (phc(argon2::Algorithm::Argon2id, Version::V0x10, Params::DEFAULT), "version 19"),
        (DUMMY.replace("$v=19", ""), "version 19"),
        (DUMMY[..DUMMY.rfind('$').unwrap()].to_owned(), "missing"),
        ("$argon2id$v=19$m=19456,t=2,p=1".to_owned(), "missing"),
        (with("m=4294967295,t=2,p=1"), "64 MiB"),
        (with("m=65537,t=2,p=1"), "64 MiB"),
        (with("m=19456,t=11,p=1"), "10 passes"),
        (with("m=19456,t=4294967295,p=1"), "10 passes"),
        (with("m=19456,t=2,p=5"), "4 lanes"),
        (with("m=4294967296,t=2,p=1"), "parameters"),
        (with("m=1,t=2,p=1"), "parameters"),
        (with("m=19456,t=0,p=1"), "parameters"),
        (with("m=19456,t=2,p=0"), "parameters"),
        (with("m=19456,t=2,p=1,x=1"), "parameters"),
    ];
    // No place is free: whatever were computed would be refused as busy instead.
    let passwords = Passwords::new(1, 0);
    let _taken = passwords.places.clone().acquire_owned().await.unwrap();
    for (stored, part) in cases {
        match passwords.verify(candidate(RAW), Some(&stored)).await {
            Err(AuthError::StoredHash { reason }) => assert!(reason.contains(part), "{stored}: {reason}"),
            other => panic!("{stored}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn over_the_queue_is_busy_at_once_and_places_come_back() {
    let passwords = Passwords::new(1, 1);
    let turn = passwords.running.clone().acquire_owned().await.unwrap();
    let [first, second] = [(); 2].map(|()| {
        let passwords = passwords.clone();
        tokio::spawn(async move { passwords.verify(candidate(RAW), None).await })
    });
    while passwords.places.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let third = timeout(Duration::from_secs(1), passwords.verify(candidate(RAW), None)).await.unwrap();
    assert!(matches!(third, Err(AuthError::Busy)), "{third:?}");
    drop(turn);
    for waited in [first, second] {
        assert_eq!(waited.await.unwrap().unwrap(), Verdict::Mismatch);
    }
    assert_eq!(passwords.verify(candidate(RAW), None).await.unwrap(), Verdict::Mismatch);
}

#[tokio::test]
async fn no_more_run_at_once_than_were_asked_for() {
    let passwords = Passwords::new(2, 10);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let all: Vec<_> = (0..12)
        .map(|_| {
            let (passwords, running, most) = (passwords.clone(), running.clone(), most.clone());
            let work = move || {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                std::thread::sleep(Duration::from_millis(20));
                running.fetch_sub(1, SeqCst);
                Ok(())
            };
            tokio::spawn(async move { passwords.run(work).await })
        })
        .collect();
    for one in all {
        one.await.unwrap().unwrap();
    }
    assert_eq!(most.load(SeqCst), 2);
}

#[tokio::test]
async fn a_caller_that_goes_away_keeps_its_turn_until_its_hash_is_computed() {
    let passwords = Passwords::new(1, 0);
    let (start, started) = tokio::sync::oneshot::channel();
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let gone = tokio::spawn({
        let passwords = passwords.clone();
        let work = move || {
            start.send(()).unwrap();
            Ok(finished.recv().is_ok())
        };
        async move { passwords.run(work).await }
    });
    started.await.unwrap();
    gone.abort();
    assert!(gone.await.is_err_and(|error| error.is_cancelled()));
    assert!(matches!(passwords.verify(candidate(RAW), None).await, Err(AuthError::Busy)));
    finish.send(()).unwrap();
    while passwords.places.available_permits() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(passwords.verify(candidate(RAW), None).await.unwrap(), Verdict::Mismatch);
}
