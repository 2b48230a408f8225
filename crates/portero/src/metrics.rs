//! What goes on, in Prometheus' text format (version 0.0.4), for `/metrics`.
//!
//! Dashboards go by these names: add to them, and change none. No label grows with the tenants: of those there are only
//! the few on each server that hold and wait for most.

use crate::process::Usage;
use portero_control::LastRound;
use portero_registry::{Origin, SpareFigures, Stopped, TenantStatus};
use portero_router::{Figures, Histogram, SchemaFigures, ServerFigures, scheduler::Breaker};
use std::{
    collections::BTreeSet,
    fmt::{Display, Write as _},
};

/// The media type of what [`render`] writes.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is shown.
pub(crate) struct Shown<'a> {
    pub(crate) figures: &'a Figures,
    /// Requests refused, by reason.
    pub(crate) refused: &'a [(&'static str, u64)],
    /// Nothing while the registry is away.
    pub(crate) tenants: Option<&'a [(TenantStatus, i64)]>,
    /// Jobs that aren't at an end, by their state; `failing` are some of those under way. Nothing while the registry is away.
    pub(crate) jobs: Option<&'a [(&'static str, i64)]>,
    /// Nothing before the reconciler's first round.
    pub(crate) round: Option<&'a LastRound>,
    /// Nothing while the registry is away.
    pub(crate) spares: Option<&'a [SpareFigures]>,
    /// Nothing where the system doesn't tell.
    pub(crate) usage: Option<Usage>,
}

/// Writes it.
pub(crate) fn render(shown: &Shown<'_>) -> String {
    let mut page = Page::default();
    routes(&mut page, shown.figures);
    connections(&mut page, &shown.figures.servers);
    stale_statements(&mut page, &shown.figures.servers);
    durations(&mut page, &shown.figures.servers);
    health(&mut page, &shown.figures.servers);
    busiest(&mut page, &shown.figures.servers);
    let help = "Requests answered with a problem since the start, by its code; tenant-concurrency is tenant-busy \
                of a tenant that had too many requests under way.";
    page.each("portero_refused_total", Counter, help, shown.refused, |(reason, count)| {
        ([("reason", *reason)], *count)
    });
    if let Some(tenants) = shown.tenants {
        page.each("portero_tenants", Gauge, "Tenants, by status.", tenants, |(status, count)| {
            ([("status", status.as_str())], *count)
        });
    }
    if let Some(jobs) = shown.jobs {
        let help = "Jobs that aren't at an end, by state: running and undoing are under way, stuck wait for a person. \
                    failing are those under way of which a step, or its undo, has failed for more than 8 tries.";
        page.each("portero_jobs", Gauge, help, jobs, |(state, count)| ([("state", *state)], *count));
    }
    if let Some(round) = shown.round {
        differences(&mut page, round);
    }
    if let Some(servers) = shown.spares {
        spares(&mut page, servers);
    }
    if let Some(usage) = shown.usage {
        process(&mut page, usage);
    }
    page.0
}

fn routes(page: &mut Page, figures: &Figures) {
    page.one("portero_routes", Gauge, "Routes known to this router.", figures.routes);
    let lookups = [("hit", figures.lookups_hit), ("miss", figures.lookups_missed)];
    let help = "Hosts looked up, by whether a route was found.";
    page.each("portero_route_lookups_total", Counter, help, &lookups, |(result, count)| {
        ([("result", *result)], *count)
    });
    let help = "The value of the registry's route clock up to which changes are applied here.";
    page.one("portero_route_clock", Gauge, help, figures.clock);
    let help = "The same, of the snapshot on disk; 0 without one.";
    page.one("portero_snapshot_clock", Gauge, help, figures.saved_clock);
    let help = "How far the registry's route clock was ahead when it was last heard of.";
    page.one("portero_route_clock_lag", Gauge, help, figures.clock_lag);
    let help = "Seconds from a change in the registry until it was applied here.";
    page.family("portero_invalidation_seconds", Distribution, help);
    page.histogram("portero_invalidation_seconds", &[], &figures.invalidation);
    schemas(page, &figures.schema);
    let help = "1 if the registry answered the last time it was asked, else 0.";
    page.one("portero_registry_reachable", Gauge, help, u8::from(figures.registry_reachable));
}

fn schemas(page: &mut Page, schema: &SchemaFigures) {
    let tenants = [
        ("unserved", schema.unserved),
        ("behind", schema.behind),
        ("current", schema.current),
        ("ahead", schema.ahead),
    ];
    let help = "Tenants, by their schema beside this program's: unserved is too old for it (they are held, then read \
                tenant-upgrading), behind is older than its newest and served, ahead is newer than it knows.";
    page.each("portero_tenants_by_schema", Gauge, help, &tenants, |(state, count)| {
        ([("state", *state)], *count)
    });
    let help = "Requests that wait for their tenant's migration.";
    page.one("portero_held", Gauge, help, schema.held);
    let held = [("served", schema.served_after_hold), ("refused", schema.held_in_vain)];
    let help = "Requests that waited for their tenant's migration, by what then became of them.";
    page.each("portero_held_total", Counter, help, &held, |(outcome, count)| {
        ([("outcome", *outcome)], *count)
    });
}

fn connections(page: &mut Page, servers: &[ServerFigures]) {
    page.family(
        "portero_budget",
        Gauge,
        "Connections to each server. in_use, idle, connecting and closing are this router's, and together at most \
         granted; capacity is what all routers may hold there.",
    );
    for server in servers {
        for (state, count) in [
            ("capacity", server.capacity),
            ("granted", server.granted),
            ("in_use", server.in_use),
            ("idle", server.idle),
            ("connecting", server.connecting),
            ("closing", server.closing),
        ] {
            page.sample("portero_budget", &[("server", &server.name), ("state", state)], count);
        }
    }
    let help = "Requests that wait for a connection.";
    page.per_server("portero_waiting", Gauge, help, servers, |server| server.waiting);
    let help = "Tenants with a request that waits.";
    page.per_server("portero_waiting_tenants", Gauge, help, servers, |server| server.waiting_tenants);
    let help = "Tenants with a connection in use or a request that waits.";
    page.per_server("portero_active_tenants", Gauge, help, servers, |server| server.active_tenants);
    let help = "Sessions that the server counts as this router's, less those that the router counts.";
    page.per_server("portero_budget_drift", Gauge, help, servers, |server| server.drift);
    page.family("portero_evictions_total", Counter, "Connections that the router closed, by why.");
    for server in servers {
        for (reason, count) in server.evictions {
            page.sample("portero_evictions_total", &[("server", &server.name), ("reason", reason)], count);
        }
    }
}

fn stale_statements(page: &mut Page, servers: &[ServerFigures]) {
    page.family(
        "portero_stale_statements_total",
        Counter,
        "Prepared statements that a migration had made stale: retried, which nobody noticed, or told, in a \
         transaction, as tenant-upgrading.",
    );
    for server in servers {
        for (outcome, count) in server.stale_statements {
            let labels = [("server", server.name.as_str()), ("outcome", outcome)];
            page.sample("portero_stale_statements_total", &labels, count);
        }
    }
}

fn durations(page: &mut Page, servers: &[ServerFigures]) {
    let help = "Seconds until a request had its connection, by how it came by it.";
    page.family("portero_checkout_seconds", Distribution, help);
    for server in servers {
        for (path, histogram) in &server.checkout {
            page.histogram(
                "portero_checkout_seconds",
                &[("server", &server.name), ("path", path)],
                histogram,
            );
        }
    }
    page.family("portero_connect_seconds", Distribution, "Seconds that a login took.");
    for server in servers {
        page.histogram("portero_connect_seconds", &[("server", &server.name)], &server.connect);
    }
}

fn health(page: &mut Page, servers: &[ServerFigures]) {
    page.family(
        "portero_connect_failures_total",
        Counter,
        "Logins that failed, by SQLSTATE, or io, timeout, wrong-mark.",
    );
    for server in servers {
        for (sqlstate, count) in &server.connect_failures {
            let labels = [("server", server.name.as_str()), ("sqlstate", sqlstate)];
            page.sample("portero_connect_failures_total", &labels, count);
        }
    }
    page.family(
        "portero_breaker",
        Gauge,
        "1 for the state that the server's breaker is in: closed (it is used), open (its requests are refused), \
         slow_start (it is back, and logins go through a few at a time).",
    );
    for server in servers {
        for state in [Breaker::Closed, Breaker::Open, Breaker::SlowStart] {
            let labels = [("server", server.name.as_str()), ("state", state.as_str())];
            page.sample("portero_breaker", &labels, u8::from(server.breaker == state));
        }
    }
    let help = "Counts the times that the server stopped answering.";
    page.per_server("portero_server_epoch", Gauge, help, servers, |server| server.epoch);
}

fn busiest(page: &mut Page, servers: &[ServerFigures]) {
    let top = || servers.iter().flat_map(|server| server.top.iter().map(move |tenant| (server, tenant)));
    page.family(
        "portero_top_tenant_connections",
        Gauge,
        "Connections of the few tenants that hold and wait for most; others have no sample.",
    );
    for (server, tenant) in top() {
        for (state, count) in [("in_use", tenant.in_use), ("idle", tenant.idle)] {
            let labels = [("server", server.name.as_str()), ("tenant", &tenant.subdomain), ("state", state)];
            page.sample("portero_top_tenant_connections", &labels, count);
        }
    }
    let help = "Requests that wait, of the few tenants that hold and wait for most.";
    page.family("portero_top_tenant_waiting", Gauge, help);
    for (server, tenant) in top() {
        let labels = [("server", server.name.as_str()), ("tenant", tenant.subdomain.as_str())];
        page.sample("portero_top_tenant_waiting", &labels, tenant.waiting);
    }
}

fn differences(page: &mut Page, round: &LastRound) {
    let help =
        "What differs between the registry and the servers, by kind, as of the last round: portero doctor.";
    let counts = round.differences.counts();
    page.each("portero_findings", Gauge, help, &counts, |(kind, count)| ([("kind", kind.code())], *count));
    let help = "Servers that could not be compared with the registry in the last round.";
    page.one("portero_servers_not_compared", Gauge, help, round.differences.unanswered.len());
    let help = "When the servers were last compared with the registry, in seconds since 1970.";
    page.one("portero_compared_timestamp_seconds", Gauge, help, round.at.unix_timestamp());
}

fn spares(page: &mut Page, servers: &[SpareFigures]) {
    page.family("portero_spares", Gauge, "Databases made ahead; wanted is how many are kept ready.");
    for server in servers {
        let wanted = server.refill.as_ref().map_or(0, |refill| refill.wanted.into());
        for (state, count) in [("ready", server.ready), ("making", server.making), ("wanted", wanted)] {
            page.sample("portero_spares", &[("server", &server.name), ("state", state)], count);
        }
    }
    let help =
        "Tenants, by what their database was made from: a spare that was ready, a template, all migrations.";
    page.family("portero_tenants_made_from", Gauge, help);
    for server in servers {
        for (origin, count) in Origin::ALL.iter().zip(server.origins) {
            let labels = [("server", server.name.as_str()), ("origin", origin.as_str())];
            page.sample("portero_tenants_made_from", &labels, count);
        }
    }
    let looked_after = || servers.iter().filter_map(|server| Some((server, server.refill.as_ref()?)));
    page.family(
        "portero_templates",
        Gauge,
        "1 for each version of the schema that the server has a template of.",
    );
    for (server, refill) in looked_after() {
        let versions: BTreeSet<_> = refill.templates.iter().collect();
        for version in versions {
            let labels = [("server", server.name.as_str()), ("version", &version.to_string())];
            page.sample("portero_templates", &labels, 1);
        }
    }
    let help = "Rounds of making templates and spares that failed.";
    page.family("portero_refill_failures_total", Counter, help);
    for (server, refill) in looked_after() {
        page.sample("portero_refill_failures_total", &[("server", &server.name)], refill.failures);
    }
    page.family(
        "portero_refill_stopped",
        Gauge,
        "1 for the reason for which no spares are made there now, else 0.",
    );
    for (server, refill) in looked_after() {
        for reason in Stopped::ALL {
            let labels = [("server", server.name.as_str()), ("reason", reason.as_str())];
            page.sample("portero_refill_stopped", &labels, u8::from(refill.stopped == Some(reason)));
        }
    }
    let help = "Seconds since somebody last looked whether spares are lacking.";
    page.family("portero_refill_age", Gauge, help);
    for (server, refill) in looked_after() {
        page.sample("portero_refill_age", &[("server", &server.name)], refill.age.as_secs());
    }
}

fn process(page: &mut Page, usage: Usage) {
    let help = "Resident memory size in bytes.";
    page.one("process_resident_memory_bytes", Gauge, help, usage.resident_bytes);
    page.one("process_open_fds", Gauge, "Number of open file descriptors.", usage.open_files);
    let help = "Total user and system CPU time spent in seconds.";
    page.one("process_cpu_seconds_total", Counter, help, usage.cpu_seconds);
}

#[derive(Clone, Copy)]
enum Type {
    Counter,
    Gauge,
    Distribution,
}
use Type::{Counter, Distribution, Gauge};

/// The text so far. Writing to a string can't fail.
#[derive(Default)]
struct Page(String);

impl Page {
    /// Begins a family; its samples follow.
    fn family(&mut self, name: &str, of: Type, help: &str) {
        let of = match of {
            Counter => "counter",
            Gauge => "gauge",
            Distribution => "histogram",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {of}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (number, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if number == 0 { '{' } else { ',' }, escaped(text));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A family of a single sample.
    fn one(&mut self, name: &str, of: Type, help: &str, value: impl Display) {
        self.family(name, of, help);
        self.sample(name, &[], value);
    }

    /// A family with a sample for each item.
    fn each<T, V: Display>(
        &mut self,
        name: &str,
        of: Type,
        help: &str,
        items: &[T],
        sample: impl Fn(&T) -> ([(&'static str, &'static str); 1], V),
    ) {
        self.family(name, of, help);
        for (labels, value) in items.iter().map(sample) {
            self.sample(name, &labels, value);
        }
    }

    fn per_server<V: Display>(
        &mut self,
        name: &str,
        of: Type,
        help: &str,
        servers: &[ServerFigures],
        value: impl Fn(&ServerFigures) -> V,
    ) {
        self.family(name, of, help);
        for server in servers {
            self.sample(name, &[("server", &server.name)], value(server));
        }
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let bounds = histogram.bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        let mut so_far = 0;
        for (bound, count) in bounds.zip(&histogram.counts) {
            so_far += count;
            let with_bound: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&format!("{name}_bucket"), &with_bound, so_far);
        }
        self.sample(&format!("{name}_sum"), labels, histogram.sum);
        self.sample(&format!("{name}_count"), labels, histogram.count);
    }
}

/// As a label's value is written.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
