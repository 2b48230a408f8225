//! One struct per page, with everything the page shows. `render` is [`askama::Template`]'s.
//!
//! Texts given to a page are escaped when rendered. Links given to a page (`href` fields) come from the platform's own
//! settings and routes, never from a visitor.

mod audit;
mod budget;
mod confirm;
mod console;
mod frame;
mod home;
mod landing;
mod login;
mod mailbox;
mod message;
mod migrations;
mod operator_login;
mod progress;
mod signup;

pub use audit::{AuditPage, DeedRow};
pub use budget::{BudgetPage, Checkouts, Lease, ServerBudget, Took, TopTenant};
pub use confirm::{ConfirmPage, LetterPage, SentPage};
pub use console::{
    Act, ActPage, Connections, FormerName, Glance, JobPage, JobRow, JobsPage, OverviewPage, ServerRow,
    ServersPage, SparesRow, StepRow, TenantPage, TenantRow, TenantsPage, TroubleRow,
};
pub use frame::Frame;
pub use home::{AddUser, AddUserErrors, HomePage, Me, UserRow};
pub use landing::LandingPage;
pub use login::LoginPage;
pub use mailbox::{MailLine, MailPage, Mailbox, MailboxPage};
pub use message::{Action, MessagePage};
pub use migrations::{MigratedRow, MigrationPage, MigrationsPage, RunCounts, RunRow};
pub use operator_login::{OperatorLoginPage, OperatorLoginState};
pub use progress::{JobStatus, ProgressPage, Step};
pub use signup::{SignupErrors, SignupPage, SignupValues, SignupWay};
