//! What the audit log calls what was done: all there is, so that whoever shows the log has words for each.
//!
//! A verb is chosen once and never changed: people search for it, and the chain is over it.

macro_rules! verbs {
    ($($(#[$doc:meta])* $verb:ident = $code:literal,)*) => {
        /// What was done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Verb {
            $($(#[$doc])* $verb,)*
        }

        impl Verb {
            /// Every verb, in the order in which people meet them.
            pub const ALL: &'static [Self] = &[$(Self::$verb),*];

            /// As the registry and the wire write it.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$verb => $code,)* }
            }

            /// The verb that is written so.
            #[must_use]
            pub fn from_code(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|verb| verb.code() == code)
            }
        }
    };
}

verbs! {
    /// A company signed up.
    TenantSignUp = "tenant.sign-up",
    /// A company was made by an operator.
    TenantCreate = "tenant.create",
    /// A company was made, and is open.
    TenantMade = "tenant.made",
    /// A company's making came to nothing.
    TenantUndone = "tenant.undone",
    /// A company was paused.
    TenantPause = "tenant.pause",
    /// A company was resumed.
    TenantResume = "tenant.resume",
    /// A company got another plan.
    TenantPlan = "tenant.plan",
    /// A company got another weight.
    TenantWeight = "tenant.weight",
    /// A company got another subdomain.
    TenantRename = "tenant.rename",
    /// A company was deleted.
    TenantDelete = "tenant.delete",
    /// A company was brought back.
    TenantUndelete = "tenant.undelete",
    /// A company is removed for good.
    TenantPurge = "tenant.purge",
    /// A company was removed for good.
    TenantPurged = "tenant.purged",
    /// A stuck job goes on.
    JobRetry = "job.retry",
    /// A job was given up.
    JobAbandon = "job.abandon",
    /// An invitation was made.
    InvitationCreate = "invitation.create",
    /// An invitation was taken back.
    InvitationRevoke = "invitation.revoke",
    /// A server was added.
    ServerAdd = "server.add",
    /// A server takes no new companies.
    ServerDrain = "server.drain",
    /// A server takes new companies again.
    ServerUndrain = "server.undrain",
    /// The fleet is migrated.
    MigrationRun = "migration.run",
    /// A migration goes on.
    MigrationResume = "migration.resume",
    /// Migrations were tried on copies.
    MigrationRehearse = "migration.rehearse",
    /// What differed on a server was set right.
    DoctorMend = "doctor.mend",
    /// An operator was added.
    OperatorAdd = "operator.add",
    /// An operator was shut out.
    OperatorDisable = "operator.disable",
    /// An operator got another token.
    OperatorRotate = "operator.rotate",
    /// An operator logged in.
    OperatorLogin = "operator.login",
    /// An operator logged out.
    OperatorLogout = "operator.logout",
    /// Another site's page asked.
    CrossOrigin = "security.cross-origin",
    /// A host that is none.
    HostInvalid = "security.host-invalid",
    /// A host that isn't answered to.
    Misdirected = "security.misdirected",
    /// Too many requests from one address.
    RateLimited = "security.rate-limited",
    /// Too many requests to one company.
    TenantRateLimited = "security.tenant-rate-limited",
    /// One company's token at another's door.
    CrossTenantToken = "security.cross-tenant-token",
    /// A wrong token of an operator.
    OperatorRefused = "security.operator-refused",
}
