//! The words in English.

use super::words::{
    BudgetWords, Common, ConfirmWords, HomeWords, LandingWords, LoginWords, MailboxWords, OperatorsWords,
    ProblemWords, ProgressWords, RefusalWords, SignupWords, Words,
};
use super::{
    Breaker, CheckoutPath, LoginState, Notice, Problem, Role, SlotState, StepKey, StepStatus, Trouble, Way,
};

/// The table.
pub(super) static WORDS: Words = Words {
    common: Common {
        skip: "Skip to content",
        language: "Language",
        tagline: "A door of its own for every company.",
        served_by: "At the door:",
        error_prefix: "Error:",
        fix_below: "Something needs another look. It says what under each field.",
        email: "E-mail",
        password: "Password",
        show_password: "Show",
        hide_password: "Hide",
        password_rules: "8 to 128 characters. A long phrase beats a short tangle.",
        request_id: "Request number",
    },
    landing: LandingWords {
        title: "Portero: your company's own door, its own database",
        headline: "Your company's own door.",
        headline_second: "Its own database behind it.",
        lead: "Choose a name, and your company gets an address that is only yours, with a PostgreSQL database \
               that holds nobody else's data.",
        sign_up: "Sign up my company",
        sign_up_note: "It's four fields. You watch it being made, then you walk in.",
        example: "your-company",
        points_title: "What is behind the door",
        address_title: "An address of your own",
        address_text: "Your people come in by your company's subdomain and see its name. There's no front desk \
                       shared with others.",
        database_title: "A database to yourselves",
        database_text: "Your data isn't rows among other people's rows. Your database has its own key, and that key \
                        opens no other.",
        people_title: "You decide who comes in",
        people_text: "You start as administrator. Add your people, give them a role, and close the door behind \
                      whoever leaves.",
        find_title: "Is your company here already?",
        find_text: "Type its subdomain and we'll take you to its door.",
        find_label: "Your company's subdomain",
        find_button: "Go to my company",
    },
    signup: SignupWords {
        title: "Sign up your company",
        lead: "This is all we need to make its address and its database.",
        company: "Company name",
        company_hint: "The way you write it yourselves.",
        subdomain: "Subdomain",
        subdomain_hint: "3 to 40 plain letters, digits and hyphens.",
        address: "Your company's address",
        example: "your-company",
        email_hint: "You'll log in with this address, as administrator.",
        submit: "Open my door",
        submit_note: "The next page shows every step.",
        confirm_note: "We'll send you a link. There you choose your password, and your door is made.",
        invited: "You are invited: this takes a minute.",
        checking: "Seeing whether it's free…",
        available: "It's free.",
    },
    confirm: ConfirmWords {
        sent_title: "Look into your mail",
        sent_text: "We've sent you a link. Open it, choose your password and press the button: then your door is made.",
        sent_hint: "Nothing is made before that. The name is held for you as long as the link works; the mail says how long.",
        sent_again: "No mail? Look among the unwanted ones. If you mistyped your address, sign up again with another name.",
        title: |company| format!("Open the door of {company}"),
        text: "Choose the password you'll log in with. One press, and your company's address and database are made.",
        submit: "Open my door",
        not_you: "You didn't ask for this? Close this page: nothing happens.",
        busy: "Many companies are being made right now. Wait a few seconds and press again: your link is still good.",
        subject: |address| format!("Confirm {address}"),
        greeting: "Hello,",
        asked: |address| format!("somebody, we think you, asked for the address {address}."),
        asked_for: |address, company| {
            format!("somebody, we think you, asked for the address {address} for {company}.")
        },
        press: "To have it made, open this link, choose your password and press the button there:",
        button: "Open the link",
        lasts: |hours| format!("The link works once, for {hours} hours."),
        ignore: "If it wasn't you, do nothing: nothing is made, and the name is free again.",
    },
    mailbox: MailboxWords {
        title: "Mailbox",
        lead: "Mails that this Portero would send, if it had a server to send them by (PORTERO_SMTP_URL).",
        none: "No mail yet.",
        to: "To",
        subject: "Subject",
        written: "Written",
        back: "All mails",
        text: "As plain text",
        html: "As HTML",
        erased: "What it said was erased.",
    },
    progress: ProgressWords {
        running_title: |company| format!("Making room for {company}"),
        running_text: "You can stay and watch. When it's ready, the door opens by itself.",
        undoing_text: "Something went wrong on our side, not in what you typed. What was begun is being taken back; then \
                       you can try once more with the same name. This page says when.",
        done_title: |company| format!("{company} is ready"),
        done_text: "The door is open. Taking you in.",
        failed_title: |company| format!("We couldn't finish {company}"),
        failed_text: "Something went wrong on our side, not in what you typed. You can try once more. If it fails \
                      again, tell us this number.",
        steps: "Steps",
        enter: "Come in",
        try_again: "Try once more",
        job_id: "Job number",
    },
    login: LoginWords {
        title: "Log in",
        lead: |company| format!("Log in to {company}"),
        submit: "Log in",
        help: "No access? Ask whoever looks after your company's users.",
    },
    operators: OperatorsWords {
        title: "Console",
        lead: "Log in to the console",
        token: "Operator token",
        submit: "Open the console",
        help: "A token is made on the server by: portero operator add NAME",
        refused: "This token is not valid, or not any more.",
        too_many: "Too many attempts from this address. Wait a minute and try again.",
    },
    home: HomeWords {
        people: "People",
        people_admin_text: "Who may come in by this door.",
        people_member_text: "Who may come in by this door. Changes are made by an administrator.",
        log_out: "Log out",
        you: "you",
        role: "Role",
        status: "Status",
        active: "Active",
        disabled: "Disabled",
        created: "Since",
        actions: "Actions",
        make_admin: "Make administrator",
        make_member: "Make member",
        disable: "Disable",
        enable: "Enable",
        last_admin: "The last active administrator: somebody has to keep the keys.",
        more: "Show more",
        add_title: "Add somebody",
        add_text: "They can log in at once with this address and this password.",
        add_submit: "Add",
    },
    budget: BudgetWords {
        title: "Connections",
        lead: "How the connections of each server are shared at this moment. Requests and times are counted since \
               this router started.",
        pause: "Stop refreshing",
        resume: "Refresh by itself",
        away: "Portero doesn't answer. These are its last figures.",
        none: "No server is known yet.",
        not_asked: "The server was not asked yet how many connections it bears.",
        sum: |granted, capacity| {
            format!("{capacity} connections for all companies together; this router may hold {granted}.")
        },
        rest_unknown: "Other routers', or nobody's",
        waiting: |requests, companies| match (requests, companies) {
            (0, _) => "No request waits.".to_owned(),
            (1, _) => "1 request waits.".to_owned(),
            (_, 1) => format!("{requests} requests of 1 company wait."),
            _ => format!("{requests} requests of {companies} companies wait."),
        },
        checkouts: "How requests come by a connection",
        way: "Way",
        requests: "Requests",
        median: "Half within",
        p99: "99 % within",
        top: "Companies that hold and wait for most",
        top_none: "No company holds a connection.",
        company: "Company",
        waiting_column: "Waiting",
        leases: "Each router's part of the connections",
        leases_none: "No router holds connections there.",
        no_registry: "The registry doesn't answer: what other routers hold isn't known.",
        open: "open",
        granted: "granted",
        other: "other",
        this_router: "this one",
        used_of: |used, granted| format!("{used} of {granted}"),
        silent: "silent: its lease ran out",
    },
    console: &super::console::en::WORDS,
    refusals: RefusalWords {
        required: "Please fill this in.",
        too_short: "Too short: it takes at least {} characters.",
        too_long: "Too long: there's room for {} characters.",
        unprintable: "It has characters that can't be shown.",
        not_a_label: "Only plain letters a to z, digits and hyphens. It takes a letter somewhere, and no hyphen at \
                      either end.",
        reserved: "That name is reserved. Please choose another.",
        taken: "That name is taken. Please choose another.",
        email_taken: "There's somebody with that address already.",
        not_an_email: "That doesn't look like an e-mail address. For example: ana@company.com",
        too_common: "Too easy to guess. Stay clear of common passwords, your name and your company's.",
        not_allowed: "That isn't one of the choices.",
        unknown: "Please check this field.",
    },
    problem,
    step,
    step_status,
    role,
    notice,
    trouble,
    login_state,
    way,
    breaker,
    checkout_path,
    slot,
    months: ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
};

fn problem(problem: Problem) -> ProblemWords {
    let (title, text) = match problem {
        Problem::TenantNotFound => (
            "No company lives here",
            "Nobody has this address. Check the spelling, or, if you like it, make it yours.",
        ),
        Problem::TenantProvisioning => (
            "This place is still being made",
            "The company has signed up. This page refreshes by itself and opens as soon as it's ready. If that takes more than a few minutes, something went wrong; whoever signed up sees what on the page that they were led to.",
        ),
        Problem::TenantUpgrading => (
            "We're improving this place",
            "The company is being brought up to date, which rarely takes longer than a moment. Nothing you had here is lost, and if you were just sending something, send it again.",
        ),
        Problem::TenantPaused => (
            "This door is closed for now",
            "The company is paused. Its data is where it was. Whoever looks after it can tell you more.",
        ),
        Problem::TenantDeleted => (
            "This company isn't here any more",
            "It was deleted. Its data is kept for a while and shown to nobody. If that was a mistake, its administrator should tell us soon: it can still be brought back.",
        ),
        Problem::TenantMoved => (
            "This company has moved",
            "It has a new address, and what you sent to the old one was not accepted. Begin there, then send it again.",
        ),
        Problem::TenantDatabaseUnavailable => (
            "We can't reach the database",
            "It's our trouble, and it usually passes soon. Try again in a moment.",
        ),
        Problem::TenantBusy => (
            "There's a crowd at the door",
            "More requests are coming in than we can serve right now. Try again in a few seconds.",
        ),
        Problem::TenantRateLimited => (
            "This company is going too fast",
            "Its people and programs made too many requests in a short time. Wait a few seconds and try again.",
        ),
        Problem::NotServedHere => (
            "This came to the wrong machine of ours",
            "The platform is served by several, and this address belongs to another. That is ours to mend: try again in a while.",
        ),
        Problem::Unavailable => (
            "Back in a moment",
            "A part of the service isn't answering. Companies that are open don't depend on it.",
        ),
        Problem::HostInvalid => (
            "We couldn't read the address",
            "The name you came by isn't a valid address. Check how it's written.",
        ),
        Problem::BadRequest => {
            ("We couldn't read the request", "Go back, reload the page and try once more.")
        }
        Problem::CrossSite => (
            "We didn't accept that form",
            "It came from another site, or from a page that had been open for long. Reload it and try once more.",
        ),
        Problem::Forbidden => ("You can't come through here", "This is for the company's administrators."),
        Problem::NotFound => {
            ("There's no such page", "The link may be old, or a letter may have been lost on the way.")
        }
        Problem::MethodNotAllowed => {
            ("That's not the way to this page", "Start from the front and follow the buttons.")
        }
        Problem::TooLarge => ("That's too much", "You sent more than we accept at once."),
        Problem::TooManyRequests => {
            ("Too fast", "You made many requests in a row. Wait a little and try once more.")
        }
        Problem::SignupClosed => (
            "No new companies for now",
            "Sign-ups are closed. Companies that are here already go on as before.",
        ),
        Problem::InvitationNeeded => (
            "It takes an invitation",
            "New companies come by invitation. If you have one, open its link as it is; it works once, and not for ever.",
        ),
        Problem::LinkSpent => (
            "This link is no longer good",
            "It was used, its time is over, or a newer mail has the good link: each sign-up with the same name replaces the one before. If it was you who used it, your company is at its address already; otherwise look for the newest mail, or sign up once more.",
        ),
        Problem::Internal => (
            "Something went wrong on our side",
            "It isn't your fault. Try once more and, if it happens again, tell us this number.",
        ),
    };
    ProblemWords { title, text }
}

fn step(step: StepKey) -> &'static str {
    match step {
        StepKey::Reserve => "Reserving your name",
        StepKey::DatabaseCleanup => "Clearing the ground",
        StepKey::ClaimOrCreateDatabase => "Creating your database",
        StepKey::Role => "Cutting its key",
        StepKey::Grants => "Making the key fit your door only",
        StepKey::Migrate => "Setting up the inside",
        StepKey::SeedAdmin => "Creating your account",
        StepKey::Verify => "Checking that everything works",
        StepKey::Activate => "Opening the door",
    }
}

fn step_status(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Pending => "to do",
        StepStatus::Running => "under way",
        StepStatus::Done => "done",
        StepStatus::Failed => "failed",
        StepStatus::Undone => "undone",
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Admin => "Administrator",
        Role::Member => "Member",
    }
}

fn notice(notice: Notice) -> &'static str {
    match notice {
        Notice::Welcome => "Welcome. This is your door: keep its address.",
        Notice::UserAdded => "Done: they can log in now.",
        Notice::RoleChanged => "Their role is changed.",
        Notice::UserDisabled => "They can't log in any more.",
        Notice::UserEnabled => "They can log in again.",
        Notice::LastAdmin => "That can't be done: they're the last active administrator.",
        Notice::UserGone => "That person isn't on the list any more.",
        Notice::NotAllowed => "Only an administrator can do that.",
    }
}

fn trouble(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Busy => {
            "Many companies are signing up right now. What you typed is still here: try again in a minute."
        }
        Trouble::TooMany => "Several companies were signed up from your connection already. Try again later.",
        Trouble::TooManyWaiting => {
            "Several sign-ups from your connection wait for their mail to be opened. Confirm those first, or try again later."
        }
        Trouble::Stale => "This form was sent before, with something else in it. Please send it once more.",
        Trouble::Unavailable => "We can't sign companies up right now. Try again in a few minutes.",
        Trouble::Closed => "Sign-ups are closed for now.",
    }
}

fn login_state(state: LoginState) -> Option<&'static str> {
    match state {
        LoginState::Fresh => None,
        LoginState::Refused => Some("The address or the password isn't right."),
        LoginState::TooManyAttempts => Some("Too many attempts. Wait a few minutes and try once more."),
        LoginState::LoggedOut => Some("You're logged out. See you soon."),
        LoginState::Expired => Some("It's been a while since you logged in. Please log in again."),
    }
}

fn way(way: Way) -> &'static str {
    match way {
        Way::Signup => "Sign up a company",
        Way::Home => "To the front page",
        Way::Retry => "Try again",
        Way::Login => "To the log-in page",
    }
}

fn breaker(breaker: Breaker) -> &'static str {
    match breaker {
        Breaker::Closed => "Answers",
        Breaker::Open => "Doesn't answer: its companies are refused at once, until it is back",
        Breaker::SlowStart => "Is back: logins go through a few at a time",
    }
}

fn checkout_path(path: CheckoutPath) -> &'static str {
    match path {
        CheckoutPath::Idle => "One of its own was idle",
        CheckoutPath::Create => "One was opened",
        CheckoutPath::Evict => "Another's idle one gave way",
        CheckoutPath::Queue => "It waited in line",
    }
}

fn slot(state: SlotState) -> &'static str {
    match state {
        SlotState::InUse => "In use",
        SlotState::Connecting => "Being opened",
        SlotState::Closing => "Being closed",
        SlotState::Idle => "Idle",
        SlotState::Free => "Free",
        SlotState::Others => "Other routers'",
        SlotState::Rest => "Not granted",
    }
}
