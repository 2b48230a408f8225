//! What the rest of the platform says by code, as types: their words can't be forgotten.

/// An enum whose values have stable codes, and the way back from a code.
macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value, in the order in which people meet them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its stable code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// The value with this code.
            #[must_use]
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

pub(super) use coded;

coded! {
    /// A state or an error that takes a whole page; several problems of the API may read alike to people.
    Problem {
        /// 404: no company has this address.
        TenantNotFound = "tenant-not-found",
        /// 503: the company is being set up.
        TenantProvisioning = "tenant-provisioning",
        /// 503: the company's database is being brought up to date.
        TenantUpgrading = "tenant-upgrading",
        /// 503: the company is paused.
        TenantPaused = "tenant-paused",
        /// 410: the company was deleted, and its period of grace runs.
        TenantDeleted = "tenant-deleted",
        /// 421: the company has another address now, and what was sent might have changed something.
        TenantMoved = "tenant-moved",
        /// 503: the company's database server can't be reached.
        TenantDatabaseUnavailable = "tenant-database-unavailable",
        /// 503: no connection came free in time.
        TenantBusy = "tenant-busy",
        /// 429: the company asks more than it may.
        TenantRateLimited = "tenant-rate-limited",
        /// 421: what stands before the platform sent this to the process that doesn't serve it.
        NotServedHere = "not-served-here",
        /// 503: the platform itself isn't ready, its registry for instance.
        Unavailable = "unavailable",
        /// 400: the `Host` header isn't a host.
        HostInvalid = "host-invalid",
        /// 400: the request can't be understood.
        BadRequest = "bad-request",
        /// 403: a form that came from somewhere else.
        CrossSite = "cross-site",
        /// 403: not allowed to this person.
        Forbidden = "forbidden",
        /// 404: no such page.
        NotFound = "not-found",
        /// 405: the page exists, but not for this method.
        MethodNotAllowed = "method-not-allowed",
        /// 413: more was sent than is accepted.
        TooLarge = "too-large",
        /// 429: too many requests.
        TooManyRequests = "too-many-requests",
        /// 403: sign-ups are closed.
        SignupClosed = "signup-closed",
        /// 403: it takes an invitation.
        InvitationNeeded = "invitation-needed",
        /// 410: the link of a mail is no longer good.
        LinkSpent = "link-spent",
        /// 500: a fault of ours.
        Internal = "internal",
    }
}

coded! {
    /// A step of setting up a company, by its name in the job.
    StepKey {
        /// The subdomain is held for the company.
        Reserve = "reserve",
        /// What an earlier attempt left is cleared.
        DatabaseCleanup = "database_cleanup",
        /// The database is made, or a spare one taken.
        ClaimOrCreateDatabase = "claim_or_create_database",
        /// The login role is made.
        Role = "role",
        /// The role may use its own database, and no other.
        Grants = "grants",
        /// The structure is brought up to date.
        Migrate = "migrate",
        /// The first administrator is written.
        SeedAdmin = "seed_admin",
        /// All of it is tried out.
        Verify = "verify",
        /// The routers are told.
        Activate = "activate",
    }
}

coded! {
    /// How far a step is.
    StepStatus {
        /// Not begun.
        Pending = "pending",
        /// Under way.
        Running = "running",
        /// Done.
        Done = "done",
        /// It went wrong.
        Failed = "failed",
        /// It was done, and taken back because a later one failed.
        Undone = "undone",
    }
}

coded! {
    /// What a user may do in their company.
    Role {
        /// Looks after the users.
        Admin = "admin",
        /// Everybody else.
        Member = "member",
    }
}

coded! {
    /// What happened on the page before: fit for a cookie that is shown once.
    Notice {
        /// First visit after signing up.
        Welcome = "welcome",
        /// A user was added.
        UserAdded = "user-added",
        /// A user's role was changed.
        RoleChanged = "role-changed",
        /// A user was shut out.
        UserDisabled = "user-disabled",
        /// A user was let in again.
        UserEnabled = "user-enabled",
        /// Refused: somebody must remain to look after the users.
        LastAdmin = "last-admin",
        /// Refused: no such user.
        UserGone = "user-gone",
        /// Refused: not an administrator.
        NotAllowed = "not-allowed",
    }
}

impl Notice {
    /// Whether it tells of a refusal.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        matches!(self, Self::LastAdmin | Self::UserGone | Self::NotAllowed)
    }
}

coded! {
    /// Why a sign-up can't go on whose fields are all in order.
    Trouble {
        /// As many as can be are being built.
        Busy = "busy",
        /// Too many from this address.
        TooMany = "too-many",
        /// Too many from this network that nobody confirmed yet.
        TooManyWaiting = "too-many-waiting",
        /// The form was sent before, with something else in it.
        Stale = "stale",
        /// The registry can't be reached.
        Unavailable = "unavailable",
        /// Sign-ups are closed.
        Closed = "closed",
    }
}

coded! {
    /// What a log-in page has to say.
    LoginState {
        /// Nothing.
        Fresh = "fresh",
        /// Wrong address, wrong password, or disabled: one text for all.
        Refused = "refused",
        /// Too many attempts: wait.
        TooManyAttempts = "too-many-attempts",
        /// Logged out a moment ago.
        LoggedOut = "logged-out",
        /// The log-in ran out.
        Expired = "expired",
    }
}

coded! {
    /// A field of a form, by its name there.
    Field {
        /// A company's name.
        Company = "company",
        /// A company's subdomain.
        Subdomain = "subdomain",
        /// An e-mail address.
        Email = "email",
        /// A password.
        Password = "password",
        /// A role.
        Role = "role",
    }
}

coded! {
    /// Where a message page offers to go on.
    Way {
        /// Sign a company up.
        Signup = "signup",
        /// To the front page.
        Home = "home",
        /// The same again.
        Retry = "retry",
        /// Log in.
        Login = "login",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_lead_back_to_their_values() {
        for problem in Problem::ALL {
            assert_eq!(Problem::from_code(problem.code()), Some(*problem));
        }
        for step in StepKey::ALL {
            assert_eq!(StepKey::from_code(step.code()), Some(*step));
        }
        for notice in Notice::ALL {
            assert_eq!(Notice::from_code(notice.code()), Some(*notice));
        }
        assert_eq!(StepStatus::from_code("undone"), Some(StepStatus::Undone));
        assert_eq!(Problem::from_code("of-another-world"), None);
    }
}

coded! {
    /// Whether a server is used, as the router says it.
    Breaker {
        /// It is.
        Closed = "closed",
        /// It does not answer.
        Open = "open",
        /// It is back, and logins go through a few at a time.
        SlowStart = "slow_start",
    }
}

coded! {
    /// How a request came by its connection, as the router says it.
    CheckoutPath {
        /// One was idle.
        Idle = "idle",
        /// One was opened.
        Create = "create",
        /// Another's idle one gave way.
        Evict = "evict",
        /// It waited.
        Queue = "queue",
    }
}

coded! {
    /// What one of a server's connections is doing, or whose it is; in the order of the picture.
    SlotState {
        /// Lent.
        InUse = "in_use",
        /// Being opened.
        Connecting = "connecting",
        /// Being closed.
        Closing = "closing",
        /// Waiting to be lent.
        Idle = "idle",
        /// Granted to this router, and not open.
        Free = "free",
        /// Other routers'.
        Others = "others",
        /// Nobody's.
        Rest = "rest",
    }
}
