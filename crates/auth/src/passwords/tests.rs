//! Tests of `passwords.rs`: real argon2id at its real cost.

use super::*;
use argon2::{Block, PasswordHasher, PasswordVerifier};
use portero_kernel::TenantId;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::timeout;

const RAW: &str = "kite-lantern-92";
const US: Claimant = Claimant::Platform;

fn somebody() -> Claimant {
    Claimant::Tenant(TenantId::generate())
}

fn argon2id() -> Argon2<'static> {
    Argon2::new(argon2::Algorithm::Argon2id, Version::V0x13, params())
}

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
    let stored = passwords.hash(US, &password).await.unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    assert_ne!(stored, passwords.hash(US, &password).await.unwrap(), "each hash has its salt");
    let verdict = passwords.verify(US, candidate(RAW), Some(&stored)).await.unwrap();
    assert_eq!(verdict, Verdict::Match { rehash: false });
    for other in ["", "kite-lantern-93", "Kite-lantern-92", " kite-lantern-92", "kite-lantern-92\0"] {
        let verdict = passwords.verify(US, candidate(other), Some(&stored)).await.unwrap();
        assert_eq!(verdict, Verdict::Mismatch, "{other:?}");
    }
}

#[tokio::test]
async fn all_128_characters_count_and_a_longer_candidate_never_matches() {
    let passwords = Passwords::default();
    let raw = format!("Zq7!tR9w{}", "é".repeat(120));
    let stored = passwords.hash(US, &Password::parse(&raw, &[]).unwrap()).await.unwrap();
    let shorter = raw.strip_suffix('é').unwrap();
    assert_eq!(
        passwords.verify(US, candidate(&raw), Some(&stored)).await.unwrap(),
        Verdict::Match { rehash: false }
    );
    assert_eq!(passwords.verify(US, candidate(shorter), Some(&stored)).await.unwrap(), Verdict::Mismatch);
    let long = "x".repeat(129);
    let of_long = argon2id().hash_password(long.as_bytes()).unwrap().to_string();
    let of_nothing = argon2id().hash_password(b"").unwrap().to_string();
    for stored in [&of_long, &of_nothing] {
        assert_eq!(passwords.verify(US, candidate(&long), Some(stored)).await.unwrap(), Verdict::Mismatch);
    }
}

#[tokio::test]
async fn nobody_has_no_password() {
    let passwords = Passwords::default();
    for raw in ["", RAW, "nobody"] {
        assert_eq!(passwords.verify(US, candidate(raw), None).await.unwrap(), Verdict::Mismatch);
    }
}

#[test]
fn the_dummy_costs_what_a_new_hash_costs() {
    assert!(!StoredHash::parse(DUMMY).unwrap().is_outdated());
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
        let verdict = passwords.verify(US, candidate(RAW), Some(&stored)).await.unwrap();
        assert_eq!(verdict, Verdict::Match { rehash: true }, "{stored}");
    }
    let renewed = passwords.rehash(US, candidate(RAW)).await.unwrap();
    let verdict = passwords.verify(US, candidate(RAW), Some(&renewed)).await.unwrap();
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
    let _taken = passwords.places.claim(US).unwrap();
    for (stored, part) in cases {
        match passwords.verify(US, candidate(RAW), Some(&stored)).await {
            Err(AuthError::StoredHash { reason }) => assert!(reason.contains(part), "{stored}: {reason}"),
            other => panic!("{stored}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn over_the_queue_is_busy_at_once_and_places_come_back() {
    let passwords = Passwords::new(1, 1);
    let turn = passwords.places.running.clone().acquire_owned().await.unwrap();
    let [first, second] = [(); 2].map(|()| {
        let passwords = passwords.clone();
        tokio::spawn(async move { passwords.verify(US, candidate(RAW), None).await })
    });
    until(|| passwords.places.free() == 0).await;
    let third = soon(passwords.verify(US, candidate(RAW), None)).await;
    assert!(matches!(third, Err(AuthError::Busy)), "{third:?}");
    drop(turn);
    for waited in [first, second] {
        assert_eq!(waited.await.unwrap().unwrap(), Verdict::Mismatch);
    }
    assert_eq!(passwords.verify(US, candidate(RAW), None).await.unwrap(), Verdict::Mismatch);
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
            tokio::spawn(async move { passwords.run(somebody(), work).await })
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
        async move { passwords.run(somebody(), work).await }
    });
    started.await.unwrap();
    gone.abort();
    assert!(gone.await.is_err_and(|error| error.is_cancelled()));
    assert!(matches!(soon(passwords.verify(US, candidate(RAW), None)).await, Err(AuthError::Busy)));
    finish.send(()).unwrap();
    until(|| passwords.places.free() > 0).await;
    assert_eq!(passwords.verify(US, candidate(RAW), None).await.unwrap(), Verdict::Mismatch);
}

#[tokio::test]
async fn one_claimants_flood_takes_its_share_and_everybody_else_still_logs_in() {
    let passwords = Passwords::new(1, 39);
    let turn = passwords.places.running.clone().acquire_owned().await.unwrap();
    for flooding in [somebody(), somebody(), US] {
        let mut flood: Vec<_> = (0..10).map(|_| passwords.places.claim(flooding).unwrap()).collect();
        let verdict = soon(passwords.verify(flooding, candidate(RAW), None)).await;
        assert!(matches!(verdict, Err(AuthError::Busy)), "{flooding:?}: {verdict:?}");
        let refused = soon(passwords.choose(flooding, RAW, &[])).await;
        assert!(matches!(refused, Err(AuthError::Busy)), "{flooding:?}: {refused:?}");
        assert!(passwords.places.claim(somebody()).is_ok());
        flood.pop();
        assert!(passwords.places.claim(flooding).is_ok(), "a place of its own came back");
    }
    drop(turn);
    assert_eq!(passwords.places.free(), 40);
    assert_eq!(passwords.places.lines(), 0, "who has no place is forgotten");
    assert_eq!(passwords.verify(US, candidate(RAW), None).await.unwrap(), Verdict::Mismatch);
}

#[test]
fn a_share_is_a_quarter_and_at_least_four_and_all_of_them_are_no_more_than_there_are() {
    for (at_once, waiting, share) in [(2, 256, 64), (2, 32, 8), (1, 9, 4), (1, 3, 4), (1, 1, 2), (0, 0, 1)] {
        let places = Places::new(at_once, waiting);
        let one = somebody();
        let taken: Vec<_> = (0..300).filter_map(|_| places.claim(one).ok()).collect();
        assert_eq!(taken.len(), share, "{at_once} and {waiting}");
        let rest: Vec<_> = (0..300).filter_map(|_| places.claim(somebody()).ok()).collect();
        assert_eq!(taken.len() + rest.len(), at_once.max(1) + waiting);
    }
}

#[tokio::test]
async fn a_place_is_free_again_when_its_waiting_caller_goes_away() {
    let passwords = Passwords::new(1, 9);
    let turn = passwords.places.running.clone().acquire_owned().await.unwrap();
    let waiting = tokio::spawn({
        let passwords = passwords.clone();
        async move { passwords.verify(US, candidate(RAW), None).await }
    });
    until(|| passwords.places.free() == 9).await;
    waiting.abort();
    assert!(waiting.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!((passwords.places.free(), passwords.places.lines()), (10, 0));
    drop(turn);
}

#[tokio::test]
async fn who_comes_after_a_flood_waits_for_a_round_and_not_for_all_of_it() {
    let passwords = Passwords::new(1, 39);
    let turn = passwords.places.running.clone().acquire_owned().await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (flooding, other) = (somebody(), somebody());
    let mut all = Vec::new();
    for claimant in [flooding; 5].into_iter().chain([other]) {
        let (passwords, order) = (passwords.clone(), order.clone());
        let work = move || {
            order.lock().unwrap().push(claimant);
            Ok(())
        };
        all.push(tokio::spawn(async move { passwords.run(claimant, work).await }));
    }
    until(|| passwords.places.free() == 34).await;
    drop(turn);
    for one in all {
        one.await.unwrap().unwrap();
    }
    assert_eq!(order.lock().unwrap()[..3], [flooding, other, flooding]);
}

#[tokio::test]
async fn memory_is_used_again_and_wiped() {
    let passwords = Passwords::new(2, 18);
    let all: Vec<_> = (0..12)
        .map(|_| {
            let passwords = passwords.clone();
            tokio::spawn(async move { passwords.verify(somebody(), candidate(RAW), None).await })
        })
        .collect();
    for one in all {
        one.await.unwrap().unwrap();
    }
    let kept = passwords.memory.kept_blocks();
    assert!([1, 2].contains(&(kept.len() / MEMORY_KIB as usize)), "{} blocks", kept.len());
    assert!(kept.iter().flat_map(Block::as_ref).all(|word| *word == 0), "something is left");

    let large = argon2id_phc(65_536, 1, 1, 32);
    passwords.verify(US, candidate(RAW), Some(&large)).await.unwrap();
    assert_eq!(passwords.memory.kept_blocks().len(), kept.len(), "what is larger isn't kept");
}

#[test]
fn a_buffer_comes_back_wiped_even_from_a_panic() {
    let memory = Memory::default();
    let lending = memory.clone();
    let panicked = std::thread::spawn(move || {
        let mut lent = lending.lend(8).unwrap();
        lent.as_mut()[7].as_mut()[0] = 7;
        panic!("while something is computed");
    });
    assert!(panicked.join().is_err());
    let kept = memory.kept_blocks();
    assert_eq!(kept.len(), MEMORY_KIB as usize);
    assert!(kept.iter().flat_map(Block::as_ref).all(|word| *word == 0));
}

#[tokio::test]
async fn hashes_are_those_of_argon2s_own_front_door() {
    let stored = Passwords::default().hash(US, &Password::parse(RAW, &[]).unwrap()).await.unwrap();
    let parsed = PasswordHash::new(&stored).unwrap();
    assert_eq!(argon2id().verify_password(RAW.as_bytes(), &parsed), Ok(()));
    let theirs: PasswordHash =
        argon2id().hash_password_with_salt(RAW.as_bytes(), &parsed.salt.unwrap()).unwrap();
    assert_eq!(theirs.to_string(), stored);
}

#[tokio::test]
async fn a_hash_that_differs_by_its_last_byte_does_not_match() {
    let stored = argon2id_phc(64, 1, 1, 32);
    let (start, output) = stored.rsplit_once('$').unwrap();
    let mut bytes = Output::decode(output).unwrap().as_bytes().to_vec();
    let verify = |bytes: Vec<u8>| async move {
        let stored = format!("{start}${}", Output::new(&bytes).unwrap());
        Passwords::default().verify(US, candidate(RAW), Some(&stored)).await.unwrap()
    };
    assert_eq!(verify(bytes.clone()).await, Verdict::Match { rehash: true });
    bytes[31] ^= 1;
    assert_eq!(verify(bytes.clone()).await, Verdict::Mismatch);
    bytes.truncate(31);
    assert_eq!(verify(bytes).await, Verdict::Mismatch);
}

#[tokio::test]
async fn what_is_cheap_to_see_of_a_chosen_password_is_refused_without_a_place() {
    let passwords = Passwords::new(1, 0);
    let taken = passwords.places.claim(US).unwrap();
    for (raw, refusal) in [
        ("short", Refusal::TooShort { min: 8 }),
        ("Zq7!tR9w\0", Refusal::Unprintable),
        ("Fqrg7Cs493", Refusal::TooCommon),
        (&"é".repeat(129), Refusal::TooLong { max: 128 }),
    ] {
        assert_eq!(passwords.choose(somebody(), raw, &[]).await.unwrap().err(), Some(refusal), "{raw}");
    }
    assert!(matches!(soon(passwords.choose(somebody(), RAW, &[])).await, Err(AuthError::Busy)));
    drop(taken);
    let chosen = passwords.choose(US, RAW, &["Acme"]).await.unwrap().unwrap();
    assert_eq!(chosen.secret().expose_secret(), RAW);
    let refused = passwords.choose(US, "vintarex-2025", &["Vintarex Trading S.L."]).await.unwrap();
    assert_eq!(refused.err(), Some(Refusal::TooCommon));
}

#[test]
fn the_estimate_is_made_by_a_blocking_thread() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().max_blocking_threads(1).build().unwrap().block_on(async {
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let occupied = spawn_blocking(move || finished.recv());
        let passwords = Passwords::default();
        let mut chosen = Box::pin(passwords.choose(US, RAW, &[]));
        for _ in 0..3 {
            let polled = std::future::poll_fn(|task| Poll::Ready(chosen.as_mut().poll(task))).await;
            assert!(polled.is_pending(), "it needed no blocking thread");
        }
        finish.send(()).unwrap();
        assert!(chosen.await.unwrap().is_ok());
        occupied.await.unwrap().unwrap();
    });
}

/// What needs no turn has come within a second.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(1), what).await.expect("it waits")
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now().await;
    }
}
