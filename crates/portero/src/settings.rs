//! Settings: a TOML file under environment variables under flags. An unknown key or a bad value stops the start with
//! a sentence that names it.

use crate::mailer::Smtp;
use anyhow::{Context, Result, bail};
use portero_auth::MasterKey;
use portero_control::{Plans, SignUpMode};
use portero_kernel::{HostName, SecretString};
use portero_provisioner::{RefillOptions, TENANT_MIGRATIONS, oldest_tenant_schema};
use portero_router::{Behind, SchemaPolicy};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::ParseIntError,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

const PREFIX: &str = "PORTERO_";
/// Requests of one company that may be under way at the same time, unless set: as many as may wait for a connection.
const TENANT_CONCURRENCY: usize = 256;
/// For how long a request may wait for its tenant's migration, at most: less than a stop leaves for requests under way, and
/// than nginx waits for an answer.
const LONGEST_HOLD_SECS: u64 = 20;
/// Mails that are sent in an hour, unless set.
const MAILS_PER_HOUR: u32 = 1000;

/// Every setting as it may stand in the file; each is also `PORTERO_` and its name in capitals.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    registry_url: Option<String>,
    base_domain: Option<String>,
    public_scheme: Option<String>,
    public_port: Option<u16>,
    listen: Option<String>,
    admin_listen: Option<String>,
    admin_hosts: Option<Vec<String>>,
    data_dir: Option<String>,
    pg_bin_dir: Option<String>,
    master_key: Option<String>,
    master_key_file: Option<String>,
    database_ca_file: Option<PathBuf>,
    trusted_proxies: Option<Vec<String>>,
    workers: Option<usize>,
    signup_mode: Option<String>,
    signup_per_address_hour: Option<u32>,
    signups_in_flight: Option<u32>,
    plans: Option<BTreeMap<String, u8>>,
    smtp_url: Option<String>,
    mail_from: Option<String>,
    mails_per_hour: Option<u32>,
    login_attempts_per_account: Option<u32>,
    login_per_address_minute: Option<u32>,
    name_checks_per_address_minute: Option<u32>,
    tenant_requests_per_second: Option<u32>,
    tenant_concurrency: Option<usize>,
    schema_behind: Option<String>,
    schema_hold_seconds: Option<u64>,
    spares: Option<usize>,
    server_size_limit_mb: Option<u64>,
    log: Option<String>,
    log_format: Option<String>,
}

/// Where log lines go and how they look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Settings that were understood. What a command needs and didn't get is its to say.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) registry_url: Option<SecretString>,
    pub(crate) base_domain: Option<HostName>,
    pub(crate) https: Option<bool>,
    pub(crate) public_port: Option<u16>,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) admin_hosts: Vec<String>,
    pub(crate) data_dir: PathBuf,
    pub(crate) pg_bin_dir: Option<PathBuf>,
    pub(crate) master_key: Option<MasterKey>,
    pub(crate) database_ca_file: Option<PathBuf>,
    pub(crate) trusted_proxies: Vec<IpAddr>,
    pub(crate) workers: usize,
    pub(crate) signup_mode: SignUpMode,
    pub(crate) signup_per_address_hour: Option<u32>,
    pub(crate) signups_in_flight: u32,
    pub(crate) plans: Plans,
    pub(crate) smtp: Option<Smtp>,
    pub(crate) mails_per_hour: u32,
    pub(crate) login_attempts_per_account: Option<u32>,
    pub(crate) login_per_address_minute: Option<u32>,
    pub(crate) name_checks_per_address_minute: Option<u32>,
    pub(crate) tenant_requests_per_second: Option<u32>,
    pub(crate) tenant_concurrency: usize,
    pub(crate) schema: SchemaPolicy,
    pub(crate) spares: Option<usize>,
    /// Megabytes; 0 for no limit.
    pub(crate) server_size_limit_mb: u64,
    pub(crate) log: Option<String>,
    pub(crate) log_format: LogFormat,
}

impl Settings {
    /// What is kept ready on each server; `usual` spares, unless set.
    pub(crate) fn refill(&self, usual: usize) -> RefillOptions {
        RefillOptions {
            spares: self.spares.unwrap_or(usual),
            size_limit: self.server_size_limit_mb.checked_mul(1 << 20).filter(|limit| *limit > 0),
        }
    }

    /// Reads `file`, or `portero.toml` here if there is one, and the environment.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub(crate) fn read(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self> {
        let usual = Path::new("portero.toml");
        let mut raw = match file.or_else(|| usual.exists().then_some(usual)) {
            None => Raw::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("{} can't be read", path.display()))?;
                toml::from_str(&text).with_context(|| format!("{} is not understood", path.display()))?
            }
        };
        let environment: BTreeMap<String, String> =
            environment.filter(|(key, _)| key.starts_with(PREFIX)).collect();
        raw.overlay(environment)?;
        raw.understood()
    }
}

impl Raw {
    fn overlay(&mut self, environment: BTreeMap<String, String>) -> Result<()> {
        for (key, value) in environment {
            match key.strip_prefix(PREFIX).unwrap_or_default() {
                "REGISTRY_URL" => self.registry_url = Some(value),
                "BASE_DOMAIN" => self.base_domain = Some(value),
                "PUBLIC_SCHEME" => self.public_scheme = Some(value),
                "PUBLIC_PORT" => self.public_port = Some(parse(&key, &value)?),
                "LISTEN" => self.listen = Some(value),
                "ADMIN_LISTEN" => self.admin_listen = Some(value),
                "DATA_DIR" => self.data_dir = Some(value),
                "PG_BIN_DIR" => self.pg_bin_dir = Some(value),
                "MASTER_KEY" => self.master_key = Some(value),
                "MASTER_KEY_FILE" => self.master_key_file = Some(value),
                "DATABASE_CA_FILE" => self.database_ca_file = Some(PathBuf::from(value)),
                "TRUSTED_PROXIES" => self.trusted_proxies = Some(list(&value)),
                "ADMIN_HOSTS" => self.admin_hosts = Some(list(&value)),
                "WORKERS" => self.workers = Some(parse(&key, &value)?),
                "SIGNUP_MODE" => self.signup_mode = Some(value),
                "SIGNUP_PER_ADDRESS_HOUR" => self.signup_per_address_hour = Some(parse(&key, &value)?),
                "SIGNUPS_IN_FLIGHT" => self.signups_in_flight = Some(parse(&key, &value)?),
                "PLANS" => self.plans = Some(weights(&key, &value)?),
                "SMTP_URL" => self.smtp_url = Some(value),
                "MAIL_FROM" => self.mail_from = Some(value),
                "MAILS_PER_HOUR" => self.mails_per_hour = Some(parse(&key, &value)?),
                "LOGIN_ATTEMPTS_PER_ACCOUNT" => {
                    self.login_attempts_per_account = Some(parse(&key, &value)?);
                }
                "LOGIN_PER_ADDRESS_MINUTE" => self.login_per_address_minute = Some(parse(&key, &value)?),
                "NAME_CHECKS_PER_ADDRESS_MINUTE" => {
                    self.name_checks_per_address_minute = Some(parse(&key, &value)?);
                }
                "TENANT_REQUESTS_PER_SECOND" => {
                    self.tenant_requests_per_second = Some(parse(&key, &value)?);
                }
                "TENANT_CONCURRENCY" => self.tenant_concurrency = Some(parse(&key, &value)?),
                "SCHEMA_BEHIND" => self.schema_behind = Some(value),
                "SCHEMA_HOLD_SECONDS" => self.schema_hold_seconds = Some(parse(&key, &value)?),
                "SPARES" => self.spares = Some(parse(&key, &value)?),
                "SERVER_SIZE_LIMIT_MB" => self.server_size_limit_mb = Some(parse(&key, &value)?),
                // Of one command: `portero server add`.
                "SERVER_URL" => {}
                "LOG" => self.log = Some(value),
                "LOG_FORMAT" => self.log_format = Some(value),
                _ => bail!("the environment has {key}, which is no setting of Portero's"),
            }
        }
        Ok(())
    }

    fn understood(self) -> Result<Settings> {
        let registry_url = self
            .registry_url
            .map(|url| -> Result<_> {
                // The parse error is left out: it may quote the password.
                if tokio_postgres::Config::from_str(&url).is_err() {
                    bail!(
                        "registry_url is not a PostgreSQL URL: postgresql://user:password@host:port/database"
                    );
                }
                Ok(SecretString::from(url))
            })
            .transpose()?;
        let base_domain = self.base_domain.map(|name| host("base_domain", &name)).transpose()?;
        let https = self
            .public_scheme
            .map(|scheme| match scheme.as_str() {
                "https" => Ok(true),
                "http" => Ok(false),
                _ => Err(bad("public_scheme", &scheme, "it is https or http")),
            })
            .transpose()?;
        let trusted_proxies = match self.trusted_proxies {
            None => vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
            Some(list) => {
                let address = |entry: &String| {
                    entry.parse().map_err(|_| bad("trusted_proxies", entry, "an IP address is meant"))
                };
                list.iter().map(address).collect::<Result<_>>()?
            }
        };
        let admin_hosts = self.admin_hosts.unwrap_or_default();
        let admin_hosts = admin_hosts.iter().map(|name| Ok(host("admin_hosts", name)?.to_string()));
        let admin_hosts = admin_hosts.collect::<Result<_>>()?;
        let signup_mode = match self.signup_mode.as_deref() {
            None => SignUpMode::default(),
            Some(name) => SignUpMode::ALL
                .into_iter()
                .find(|(known, _)| *known == name)
                .map(|(_, mode)| mode)
                .ok_or_else(|| bad("signup_mode", name, "it is open, confirm, invite or closed"))?,
        };
        let smtp = match (self.smtp_url, self.mail_from) {
            (None, None) => None,
            (Some(url), Some(from)) => Some(Smtp::new(&SecretString::from(url), &from)?),
            (Some(_), None) => bail!("smtp_url is set and mail_from isn't: whom do mails come from?"),
            (None, Some(_)) => bail!("mail_from is set and smtp_url isn't: smtps://user:password@host"),
        };
        let log_format = match self.log_format.as_deref() {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(other) => return Err(bad("log_format", other, "it is text or json")),
        };
        let workers =
            self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, Into::into));
        if workers == 0 {
            return Err(bad("workers", "0", "at least one is needed"));
        }
        Ok(Settings {
            registry_url,
            base_domain,
            https,
            public_port: self.public_port,
            listen: socket("listen", self.listen.as_deref().unwrap_or("127.0.0.1:8080"))?,
            admin_listen: socket("admin_listen", self.admin_listen.as_deref().unwrap_or("127.0.0.1:8081"))?,
            admin_hosts,
            data_dir: self.data_dir.map_or_else(|| PathBuf::from(".portero"), PathBuf::from),
            pg_bin_dir: self.pg_bin_dir.map(PathBuf::from),
            master_key: master_key(self.master_key, self.master_key_file)?,
            database_ca_file: self.database_ca_file,
            trusted_proxies,
            workers,
            signup_mode,
            signup_per_address_hour: self.signup_per_address_hour,
            signups_in_flight: self.signups_in_flight.unwrap_or(portero_control::IN_FLIGHT),
            plans: Plans::new(self.plans.unwrap_or_default()).context("plans are not understood")?,
            smtp,
            mails_per_hour: self.mails_per_hour.unwrap_or(MAILS_PER_HOUR),
            login_attempts_per_account: self.login_attempts_per_account,
            login_per_address_minute: self.login_per_address_minute,
            name_checks_per_address_minute: self.name_checks_per_address_minute,
            tenant_requests_per_second: self.tenant_requests_per_second,
            tenant_concurrency: self.tenant_concurrency.unwrap_or(TENANT_CONCURRENCY),
            schema: schema(self.schema_behind.as_deref(), self.schema_hold_seconds)?,
            spares: self.spares,
            server_size_limit_mb: self.server_size_limit_mb.unwrap_or(0),
            log: self.log,
            log_format,
        })
    }
}

/// What the program needs of a tenant's schema, and what becomes of requests where it is older.
fn schema(behind: Option<&str>, hold_secs: Option<u64>) -> Result<SchemaPolicy> {
    let behind = match behind {
        None => Behind::default(),
        Some(name) => Behind::ALL
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, behind)| behind)
            .ok_or_else(|| bad("schema_behind", name, "it is serve, hold or refuse"))?,
    };
    let hold = match hold_secs {
        None => SchemaPolicy::default().hold,
        Some(secs) if secs <= LONGEST_HOLD_SECS => Duration::from_secs(secs),
        Some(secs) => {
            let why = format!("a request can be held for {LONGEST_HOLD_SECS} seconds at most");
            return Err(bad("schema_hold_seconds", &secs.to_string(), why));
        }
    };
    Ok(SchemaPolicy { oldest: oldest_tenant_schema(), newest: TENANT_MIGRATIONS.latest(), behind, hold })
}

/// Entries with commas between them.
fn list(value: &str) -> Vec<String> {
    value.split(',').map(|entry| entry.trim().to_owned()).filter(|entry| !entry.is_empty()).collect()
}

/// Plans' names, each with its weight behind a `=`.
fn weights(key: &str, value: &str) -> Result<BTreeMap<String, u8>> {
    let mut weights = BTreeMap::new();
    for entry in list(value) {
        let (name, weight) = entry.split_once('=').ok_or_else(|| bad(key, value, "free=1,pro=4 is meant"))?;
        if weights.insert(name.trim().to_owned(), parse(key, weight.trim())?).is_some() {
            return Err(bad(key, value, format_args!("{} is there twice", name.trim())));
        }
    }
    Ok(weights)
}

fn master_key(text: Option<String>, file: Option<String>) -> Result<Option<MasterKey>> {
    match (text, file) {
        (Some(_), Some(_)) => bail!("master_key and master_key_file are both set: one is enough"),
        (Some(text), None) => MasterKey::parse(&text).map(Some).context("master_key is not a key"),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("master_key_file {path} can't be read"))?;
            MasterKey::parse(text.trim())
                .map(Some)
                .with_context(|| format!("master_key_file {path} holds no key"))
        }
        (None, None) => Ok(None),
    }
}

fn parse<T: FromStr<Err = ParseIntError>>(key: &str, value: &str) -> Result<T> {
    value.parse().map_err(|error| bad(key, value, format_args!("a whole number is meant ({error})")))
}

fn socket(key: &str, value: &str) -> Result<SocketAddr> {
    value.parse().map_err(|_| bad(key, value, "an IP address and a port are meant, as 127.0.0.1:8080"))
}

fn host(key: &str, value: &str) -> Result<HostName> {
    HostName::parse(value).map_err(|error| match value.split_once("://") {
        Some((scheme, _)) => bad(key, value, format_args!("a host's name is meant, without {scheme}://")),
        None => bad(key, value, error),
    })
}

fn bad(key: &str, value: &str, why: impl fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("{key} can't be {value:?}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn read(pairs: &[(&str, &str)]) -> Result<Settings> {
        let owned: Vec<_> =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file =
            std::env::temp_dir().join(format!("portero-settings-{}-{number}.toml", std::process::id()));
        std::fs::write(&file, "base_domain = \"ejemplo.com\"\nsignup_mode = \"closed\"\n").unwrap();
        let settings = Settings::read(Some(&file), owned.into_iter());
        std::fs::remove_file(file).unwrap();
        settings
    }

    #[test]
    fn the_environment_stands_above_the_file() {
        let settings =
            read(&[("PORTERO_SIGNUP_MODE", "open"), ("PORTERO_LISTEN", "0.0.0.0:9000"), ("HOME", "/root")])
                .unwrap();
        assert_eq!(settings.signup_mode, SignUpMode::Open);
        assert_eq!(settings.base_domain.unwrap().as_str(), "ejemplo.com");
        assert_eq!(settings.listen.port(), 9000);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (key, value, named) in [
            ("PORTERO_SINGUP_MODE", "open", "PORTERO_SINGUP_MODE"),
            ("PORTERO_PORTERO_LISTEN", "127.0.0.1:0", "PORTERO_PORTERO_LISTEN"),
            ("PORTERO_LISTEN", "8080", "listen"),
            ("PORTERO_LISTEN", "localhost:8080", "as 127.0.0.1:8080"),
            ("PORTERO_BASE_DOMAIN", "127.0.0.1", "base_domain"),
            ("PORTERO_BASE_DOMAIN", "https://ejemplo.com", "without https://"),
            ("PORTERO_WORKERS", "0", "workers"),
            ("PORTERO_WORKERS", "two", "WORKERS"),
            ("PORTERO_MASTER_KEY", "short", "master_key"),
            ("PORTERO_MASTER_KEY_FILE", "/nowhere/at/all", "master_key_file"),
            ("PORTERO_REGISTRY_URL", "mysql://secret@x/y", "registry_url"),
            ("PORTERO_TRUSTED_PROXIES", "10.0.0.1, proxy", "trusted_proxies"),
            ("PORTERO_ADMIN_HOSTS", "ops.ejemplo.com, 10.0.0.1", "admin_hosts"),
            ("PORTERO_SIGNUP_MODE", "ajar", "signup_mode"),
            ("PORTERO_SIGNUPS_IN_FLIGHT", "many", "SIGNUPS_IN_FLIGHT"),
            ("PORTERO_PLANS", "free, pro=4", "free=1,pro=4"),
            ("PORTERO_PLANS", "free=1,pro=much", "PLANS"),
            ("PORTERO_PLANS", "pro=1, pro=4", "twice"),
            ("PORTERO_PLANS", "Pro=4", "\"Pro\""),
            ("PORTERO_PLANS", "pro=101", "weight of the plan pro"),
            ("PORTERO_SMTP_URL", "smtp://u:secret@mail.ejemplo.com", "mail_from"),
            ("PORTERO_MAIL_FROM", "Portero <no-reply@ejemplo.com>", "smtp_url"),
            ("PORTERO_TENANT_CONCURRENCY", "-1", "TENANT_CONCURRENCY"),
            ("PORTERO_SPARES", "some", "SPARES"),
            ("PORTERO_SCHEMA_BEHIND", "wait", "schema_behind"),
            ("PORTERO_SCHEMA_HOLD_SECONDS", "21", "schema_hold_seconds"),
            ("PORTERO_SERVER_SIZE_LIMIT_MB", "1GB", "SERVER_SIZE_LIMIT_MB"),
            ("PORTERO_TENANT_REQUESTS_PER_SECOND", "fast", "TENANT_REQUESTS_PER_SECOND"),
        ] {
            let message = format!("{:#}", read(&[(key, value)]).unwrap_err());
            assert!(message.contains(named), "{key}={value}: {message}");
            assert!(!message.contains("secret@"), "{message}");
        }
    }

    #[test]
    fn a_tenant_behind_is_served_where_the_code_runs_on_its_schema_unless_set_otherwise() {
        let usual = read(&[]).unwrap().schema;
        assert_eq!((usual.behind, usual.serves_from()), (Behind::Serve, oldest_tenant_schema()));
        assert_eq!((usual.hold, usual.newest), (Duration::from_secs(5), TENANT_MIGRATIONS.latest()));
        let set = [("PORTERO_SCHEMA_BEHIND", "refuse"), ("PORTERO_SCHEMA_HOLD_SECONDS", "0")];
        let strict = read(&set).unwrap().schema;
        assert_eq!((strict.behind, strict.serves_from()), (Behind::Refuse, strict.newest));
        assert!(strict.hold.is_zero());
    }

    #[test]
    fn mail_is_sent_by_a_server_and_from_an_address() {
        let mail = |url: &str, from: &str| read(&[("PORTERO_SMTP_URL", url), ("PORTERO_MAIL_FROM", from)]);
        for url in
            ["smtps://u:p@mail.ejemplo.com", "smtp://localhost:2525", "smtp://mail.ejemplo.com?tls=required"]
        {
            assert!(mail(url, "Portero <no-reply@ejemplo.com>").unwrap().smtp.is_some(), "{url}");
        }
        for (url, from, named) in [
            ("http://secret@mail.ejemplo.com", "no-reply@ejemplo.com", "smtp_url"),
            ("smtp://localhost", "no-reply", "mail_from"),
        ] {
            let message = format!("{:#}", mail(url, from).unwrap_err());
            assert!(message.contains(named) && !message.contains("secret@"), "{message}");
        }
    }

    #[test]
    fn secrets_are_redacted() {
        let settings = read(&[
            ("PORTERO_REGISTRY_URL", "postgresql://u:hushhush@h/d"),
            ("PORTERO_MASTER_KEY", &format!("{}cd", "ab".repeat(31))),
        ])
        .unwrap();
        let shown = format!("{settings:?}");
        assert!(!shown.contains("hushhush") && !shown.contains("abab"), "{shown}");
    }
}
