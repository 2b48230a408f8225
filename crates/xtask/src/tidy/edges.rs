//! Who may know whom. A crate exists where a line in a `Cargo.toml` forbids something worth forbidding; these are the
//! lines.
//!
//! `kernel ← {pg, auth, devpg} ← registry ← {router, provisioner} ← control ← edge ← {admin-api, control-api, tenant-api} ← web ←
//! portero`: right may use left, and [`ROOMS`] says how much of it does. A package without a row is refused: whoever adds
//! one decides what it is for.

use anyhow::{Context, Result};
use serde_json::Value;

/// A package of this workspace, and what its `Cargo.toml` says it uses.
#[derive(Debug)]
pub(super) struct Package {
    name: String,
    uses: Vec<Use>,
}

#[derive(Debug)]
struct Use {
    name: String,
    only_in_tests: bool,
}

struct Room {
    name: &'static str,
    /// Rooms that it may use.
    may: &'static [&'static str],
    /// Crates of others that it must not know.
    never: &'static [&'static str],
    /// What would be lost.
    why: &'static str,
}

/// May use every room.
const ALL: &[&str] = &["*"];
/// What tests may use besides: rooms that exist for them.
const FOR_TESTS: [&str; 2] = ["testkit", "devpg"];
const TOKIO: [&str; 3] = ["tokio", "tokio-postgres", "deadpool-postgres"];
const POSTGRES: &[&str] = &["tokio-postgres", "deadpool-postgres", "postgres-protocol"];

const ROOMS: &[Room] = &[
    Room {
        name: "kernel",
        may: &[],
        never: &[TOKIO[0], TOKIO[1], TOKIO[2], "actix-web", "hyper"],
        why: "the vocabulary is pure, so that everything may use it",
    },
    Room {
        name: "pg",
        may: &["kernel"],
        never: &["actix-web", "clap"],
        why: "plumbing knows no table and no caller",
    },
    Room {
        name: "auth",
        may: &["kernel"],
        never: &["tokio-postgres", "deadpool-postgres", "actix-web"],
        why: "cryptography is reviewed alone: it takes values and gives values",
    },
    Room {
        name: "devpg",
        may: &["kernel"],
        never: &["tokio-postgres", "actix-web"],
        why: "it starts and stops a server, and never talks to it",
    },
    Room {
        name: "registry",
        may: &["auth", "kernel", "pg"],
        never: &["actix-web", "clap"],
        why: "it is the central database's SQL and nothing else",
    },
    Room {
        name: "router",
        may: &["kernel", "pg", "registry"],
        never: &["actix-web", "clap"],
        why: "it is a library that others can use without the rest",
    },
    Room {
        name: "provisioner",
        may: &["kernel", "pg", "registry"],
        never: &["actix-web", "clap"],
        why: "workflows run without a request, and without the router's insides",
    },
    Room {
        name: "control",
        may: &["auth", "kernel", "pg", "provisioner", "registry"],
        never: &["actix-web", "clap", "askama"],
        why: "CLI, API and pages are three doors to it: no door's words in here",
    },
    Room {
        name: "edge",
        may: &["kernel", "pg", "registry", "router"],
        never: &["askama", "clap"],
        why: "it is what all doors share, so it knows none of them",
    },
    Room {
        name: "control-api",
        may: &["control", "edge", "kernel"],
        never: &["tokio-postgres", "deadpool-postgres", "askama"],
        why: "a door has no rules and no SQL of its own",
    },
    Room {
        name: "admin-api",
        may: &["auth", "control", "edge", "kernel"],
        never: &["tokio-postgres", "deadpool-postgres", "askama"],
        why: "a door has no rules and no SQL of its own",
    },
    Room {
        name: "tenant-api",
        may: &["auth", "edge", "kernel", "pg"],
        never: &["deadpool-postgres", "askama"],
        why: "a tenant's code knows one database, lent by the edge, and nothing of other tenants",
    },
    Room {
        name: "web",
        may: &["admin-api", "auth", "control", "control-api", "edge", "kernel", "tenant-api"],
        never: POSTGRES,
        why: "pages have no SQL",
    },
    Room { name: "portero", may: ALL, never: &[], why: "the binary puts parts together" },
    Room { name: "testkit", may: ALL, never: &[], why: "it is for tests" },
    Room { name: "xtask", may: &[], never: &["tokio", "actix-web"], why: "a chore compiles in seconds" },
    Room {
        name: "bench",
        may: &["auth", "devpg", "kernel", "pg", "registry", "router"],
        never: &["actix-web", "reqwest"],
        why: "it drives the built programs: a library's own work would count as theirs",
    },
    Room { name: "bench-bare", may: &[], never: &[], why: "it is what Portero is compared with" },
];

/// Reads `cargo metadata --no-deps`.
pub(super) fn packages(metadata: &Value) -> Result<Vec<Package>> {
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    packages.iter().map(package).collect()
}

fn package(value: &Value) -> Result<Package> {
    let name =
        |value: &Value| value["name"].as_str().map(str::to_owned).context("cargo metadata lacks a name");
    let dependencies = value["dependencies"].as_array().context("cargo metadata names no dependencies")?;
    let uses = dependencies
        .iter()
        .map(|one| Ok(Use { name: name(one)?, only_in_tests: one["kind"].as_str() == Some("dev") }))
        .collect::<Result<_>>()?;
    Ok(Package { name: name(value)?, uses })
}

/// Complaints about edges that the table doesn't have.
pub(super) fn check(packages: &[Package]) -> Vec<String> {
    let names: Vec<&str> = packages.iter().map(|package| short(&package.name)).collect();
    let mut complaints = Vec::new();
    for package in packages {
        let name = short(&package.name);
        let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
            complaints.push(format!(
                "{}: no row in crates/xtask/src/tidy/edges.rs says whom it may know",
                package.name
            ));
            continue;
        };
        for used in &package.uses {
            let ours = names.contains(&short(&used.name));
            complaints.extend(if ours { room.refuses_room(used) } else { room.refuses_crate(used) });
        }
    }
    complaints
}

impl Room {
    fn refuses_room(&self, used: &Use) -> Option<String> {
        let other = short(&used.name);
        if used.only_in_tests && (FOR_TESTS.contains(&other) || self.may == ALL) {
            return None;
        }
        if other == "testkit" {
            return Some(format!("{} uses testkit: it is for tests, as a dev-dependency", self.name));
        }
        if ["xtask", "bench", "bench-bare"].contains(&other) {
            return Some(format!("{} uses {other}: nothing does", self.name));
        }
        if self.may == ALL || self.may.contains(&other) {
            return None;
        }
        let may = if self.may.is_empty() { "none of our crates".to_owned() } else { self.may.join(", ") };
        Some(format!("{} uses {other}: it may use {may}, for {}", self.name, self.why))
    }

    fn refuses_crate(&self, used: &Use) -> Option<String> {
        if used.only_in_tests || !self.never.contains(&used.name.as_str()) {
            return None;
        }
        Some(format!("{} uses {}: it must not know it, for {}", self.name, used.name, self.why))
    }
}

fn short(package: &str) -> &str {
    package.strip_prefix("portero-").unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)], tests: &[(&str, &str)]) -> Vec<String> {
        let all = edges.iter().map(|edge| (edge, false)).chain(tests.iter().map(|edge| (edge, true)));
        let all: Vec<_> = all.collect();
        let packages: Vec<Package> = ROOMS
            .iter()
            .map(|room| Package {
                name: if room.name == "portero" {
                    "portero".to_owned()
                } else {
                    format!("portero-{}", room.name)
                },
                uses: all
                    .iter()
                    .filter(|((from, _), _)| *from == room.name)
                    .map(|((_, to), only_in_tests)| Use {
                        name: (*to).to_owned(),
                        only_in_tests: *only_in_tests,
                    })
                    .collect(),
            })
            .collect();
        check(&packages)
    }

    #[test]
    fn this_workspace_keeps_to_the_table() {
        let metadata = crate::workspace::metadata().unwrap();
        let complaints = check(&packages(&metadata).unwrap());
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }

    #[test]
    fn allowed_edges_pass() {
        let edges = [
            ("registry", "portero-auth"),
            ("router", "portero-registry"),
            ("portero", "portero-web"),
            ("portero", "portero-devpg"),
            ("testkit", "portero-devpg"),
            ("kernel", "serde"),
            ("edge", "actix-web"),
        ];
        let tests = [
            ("kernel", "portero-testkit"),
            ("kernel", "tokio"),
            ("pg", "portero-devpg"),
            ("portero", "portero-kernel"),
        ];
        assert_eq!(graph(&edges, &tests), Vec::<String>::new());
    }

    #[test]
    fn each_forbidden_edge_is_named_with_its_reason() {
        for (from, to, expected) in [
            (
                "kernel",
                "portero-pg",
                "kernel uses pg: it may use none of our crates, for the vocabulary is pure",
            ),
            ("kernel", "tokio-postgres", "kernel uses tokio-postgres: it must not know it"),
            ("kernel", "actix-web", "kernel uses actix-web"),
            (
                "router",
                "portero-control",
                "router uses control: it may use kernel, pg, registry, for it is a library",
            ),
            ("router", "actix-web", "router uses actix-web"),
            ("control", "portero-router", "control uses router"),
            ("control", "clap", "three doors"),
            ("control", "askama", "three doors"),
            ("auth", "tokio-postgres", "auth uses tokio-postgres"),
            ("edge", "askama", "edge uses askama"),
            ("edge", "portero-control", "edge uses control"),
            ("tenant-api", "portero-registry", "tenant-api uses registry"),
            ("tenant-api", "portero-router", "nothing of other tenants"),
            ("web", "tokio-postgres", "pages have no SQL"),
            ("web", "portero-registry", "web uses registry"),
            ("provisioner", "portero-router", "provisioner uses router"),
            ("registry", "portero-provisioner", "registry uses provisioner"),
            ("portero", "portero-testkit", "portero uses testkit: it is for tests"),
            ("portero", "portero-xtask", "portero uses xtask: nothing does"),
        ] {
            let complaints = graph(&[(from, to)], &[]);
            assert_eq!(complaints.len(), 1, "{from} → {to}: {complaints:?}");
            assert!(complaints[0].contains(expected), "{}", complaints[0]);
        }
    }

    #[test]
    fn tests_may_use_no_more_rooms_than_the_code_they_test() {
        assert_eq!(graph(&[], &[("router", "portero-web")]).len(), 1);
    }

    #[test]
    fn a_package_without_a_row_is_refused() {
        let stranger = Package { name: "portero-billing".to_owned(), uses: Vec::new() };
        assert!(check(&[stranger])[0].starts_with("portero-billing: no row"));
    }
}
