//! A company's own front page: its people, and for administrators the ways to look after them.

use super::Frame;
use crate::text::{Notice, Role};
use askama::Template;

/// `GET /` on a company's host, logged in; also a refused `POST /users`.
#[derive(Debug, Clone, Template)]
#[template(path = "home.html")]
pub struct HomePage<'a> {
    /// The surroundings: [`Frame::tenant`].
    pub frame: Frame<'a>,
    /// The company's name.
    pub company: &'a str,
    /// Who looks at it.
    pub me: Me<'a>,
    /// The token that each form sends back as `csrf`.
    pub csrf: &'a str,
    /// The people, a page of them.
    pub users: Vec<UserRow<'a>>,
    /// Where the list goes on, if it does.
    pub more_href: Option<&'a str>,
    /// What happened on the page before.
    pub notice: Option<Notice>,
    /// For administrators: the form to add somebody. `None` takes every action from the page.
    pub add: Option<AddUser<'a>>,
}

/// Who looks at the page.
#[derive(Debug, Clone, Copy)]
pub struct Me<'a> {
    /// Their address.
    pub email: &'a str,
    /// Their role.
    pub role: Role,
}

/// One of the people.
#[derive(Debug, Clone, Copy)]
pub struct UserRow<'a> {
    /// Their id, as it stands in the paths of the actions.
    pub id: &'a str,
    /// Their address.
    pub email: &'a str,
    /// Their role.
    pub role: Role,
    /// Whether they may log in.
    pub active: bool,
    /// Since when they're here, in RFC 3339, UTC.
    pub created: &'a str,
    /// Whether it's who looks at the page.
    pub is_me: bool,
    /// Whether it's the last active administrator, who can't be changed or shut out.
    pub is_last_admin: bool,
}

/// The form to add somebody.
#[derive(Debug, Clone, Default)]
pub struct AddUser<'a> {
    /// The address that was typed before.
    pub email: &'a str,
    /// The role that was chosen before.
    pub role: Option<Role>,
    /// What is wrong with it.
    pub errors: AddUserErrors,
}

/// What is wrong, field by field, in the visitor's language.
#[derive(Debug, Clone, Default)]
pub struct AddUserErrors {
    /// With the address.
    pub email: Option<String>,
    /// With the password.
    pub password: Option<String>,
    /// With the role.
    pub role: Option<String>,
}

impl AddUserErrors {
    /// Whether anything is wrong.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.email.is_some() || self.password.is_some() || self.role.is_some()
    }
}

impl AddUser<'_> {
    fn chooses(&self, role: Role) -> bool {
        self.role.unwrap_or(Role::Member) == role
    }
}

impl UserRow<'_> {
    /// The role that the button gives.
    fn other_role(&self) -> Role {
        match self.role {
            Role::Admin => Role::Member,
            Role::Member => Role::Admin,
        }
    }
}
