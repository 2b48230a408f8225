//! How often a login may fail on one account, whoever tries: after some failures in a row each further try takes a pause,
//! which doubles up to a minute.
//!
//! Nobody is locked out for good. Who guesses from many addresses gets one try a minute, which is 1,440 a day; the account's
//! owner may have to wait that minute too, unless they come by a browser that has logged in before: such a browser has a
//! count of its own. An address that nobody has is counted alike, so it isn't told from others.
//!
//! It is each process's own. What is kept is bounded: of too many accounts those are forgotten that were tried longest ago.
//! Filling the table costs as many password checks, and takes longer than the longest pause.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// After so long without a try an account is as if none had failed.
const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);
/// Accounts that are kept at most.
const ACCOUNTS: usize = 65_536;

/// By what attempts are counted.
pub(crate) type Account = [u8; 32];

/// Counts attempts.
pub(crate) struct Attempts {
    /// How many may fail before there are pauses; `0` is no limit.
    free: u32,
    accounts: Mutex<HashMap<Account, Tried>>,
}

#[derive(Debug, Clone, Copy)]
struct Tried {
    in_a_row: u32,
    last: Instant,
}

impl Tried {
    fn pause(&self, free: u32) -> Duration {
        match self.in_a_row.checked_sub(free) {
            None => Duration::ZERO,
            Some(over) => PAUSE_MAX.min(Duration::from_secs(1 << over.min(6))),
        }
    }
}

impl Attempts {
    pub(crate) fn new(free: u32) -> Self {
        Self { free, accounts: Mutex::default() }
    }

    /// Takes one try, which counts as failed until [`Attempts::succeeded`]; or says how long to wait.
    pub(crate) fn take(&self, account: Account, now: Instant) -> Result<(), Duration> {
        if self.free == 0 {
            return Ok(());
        }
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= ACCOUNTS && !accounts.contains_key(&account) {
            make_room(&mut accounts, now);
        }
        let tried = accounts.entry(account).or_insert(Tried { in_a_row: 0, last: now });
        let since = now.saturating_duration_since(tried.last);
        if since >= FORGET_AFTER {
            tried.in_a_row = 0;
        }
        let pause = tried.pause(self.free);
        if tried.in_a_row > 0 && since < pause {
            return Err(pause - since);
        }
        *tried = Tried { in_a_row: tried.in_a_row.saturating_add(1), last: now };
        Ok(())
    }

    /// The right password: the count begins anew.
    pub(crate) fn succeeded(&self, account: &Account) {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).remove(account);
    }
}

/// Forgets who was not tried for long, or else the half that was tried longest ago.
fn make_room(accounts: &mut HashMap<Account, Tried>, now: Instant) {
    accounts.retain(|_, tried| now.saturating_duration_since(tried.last) < FORGET_AFTER);
    if accounts.len() < ACCOUNTS {
        return;
    }
    let mut times: Vec<Instant> = accounts.values().map(|tried| tried.last).collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    accounts.retain(|_, tried| tried.last > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u32) -> Account {
        let mut account = [0; 32];
        account[..4].copy_from_slice(&number.to_be_bytes());
        account
    }

    #[test]
    fn pauses_grow_to_a_minute_and_a_success_ends_them() {
        let attempts = Attempts::new(3);
        let mut now = Instant::now();
        for _ in 0..3 {
            assert_eq!(attempts.take(account(1), now), Ok(()));
        }
        for secs in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            assert_eq!(attempts.take(account(1), now), Err(Duration::from_secs(secs)));
            assert_eq!(attempts.take(account(2), now), Ok(()), "others have their own");
            attempts.succeeded(&account(2));
            now += Duration::from_secs(secs);
            assert_eq!(attempts.take(account(1), now), Ok(()), "never for good");
        }
        attempts.succeeded(&account(1));
        assert_eq!(attempts.take(account(1), now), Ok(()));
    }

    #[test]
    fn a_quarter_of_an_hour_forgives() {
        let attempts = Attempts::new(1);
        let now = Instant::now();
        assert!(attempts.take(account(1), now).is_ok() && attempts.take(account(1), now).is_err());
        let later = now + FORGET_AFTER;
        assert!(attempts.take(account(1), later).is_ok() && attempts.take(account(1), later).is_err());
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_latest_stay() {
        let attempts = Attempts::new(1);
        let start = Instant::now();
        for number in 0..200_000 {
            attempts.take(account(number), start + Duration::from_micros(number.into())).unwrap();
        }
        let kept = attempts.accounts.lock().unwrap().len();
        assert!((1..=ACCOUNTS).contains(&kept), "{kept}");
        assert!(attempts.take(account(199_999), start + Duration::from_millis(200)).is_err());
    }

    #[test]
    fn zero_is_no_limit() {
        let attempts = Attempts::new(0);
        let now = Instant::now();
        assert!((0..1000).all(|_| attempts.take(account(1), now).is_ok()));
        assert!(attempts.accounts.lock().unwrap().is_empty());
    }
}
