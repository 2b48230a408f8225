//! `cargo xtask tidy`: the rules of the house that no compiler holds.
//!
//! Each rule is a function from what it looks at to the complaints it has, so that a table can test it; [`run`] does the
//! reading. A complaint says where, what, and why it matters.

mod edges;
mod links;
mod migrations;
mod points;
mod source;

use crate::workspace;
use anyhow::{Context, Result};
use std::{fs, path::Path, process::ExitCode};

pub(crate) fn run() -> Result<ExitCode> {
    let root = workspace::root();
    let complaints = complaints(&root)?;
    if complaints.is_empty() {
        println!("Tidy.");
        return Ok(ExitCode::SUCCESS);
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    println!("\n{} to put right.", complaints.len());
    Ok(ExitCode::FAILURE)
}

fn complaints(root: &Path) -> Result<Vec<String>> {
    let metadata = workspace::metadata()?;
    let mut complaints = edges::check(&edges::packages(&metadata)?);
    complaints.extend(points::check(&metadata));
    for dir in ["crates", "tests"] {
        for file in workspace::files(root, dir, &["rs"])? {
            complaints.extend(source::check(&file, &read(root, &file)?));
        }
    }
    for folder in ["registry-migrations", "tenant-migrations"] {
        complaints.extend(migrations::check(folder, &names_in(root, folder)?));
    }
    let pages = workspace::files(root, "", &["md"])?;
    for page in &pages {
        let exists = |target: &Path| root.join(target).exists();
        complaints.extend(links::check(page, &read(root, page)?, exists));
    }
    let readme = |name: &str| fs::read_to_string(root.join(name)).ok();
    complaints.extend(links::check_twins(readme("README.md").as_deref(), readme("README.es.md").as_deref()));
    Ok(complaints)
}

fn read(root: &Path, file: &Path) -> Result<String> {
    fs::read_to_string(root.join(file)).with_context(|| format!("{} can't be read", file.display()))
}

fn names_in(root: &Path, folder: &str) -> Result<Vec<String>> {
    let entries = fs::read_dir(root.join(folder)).with_context(|| format!("{folder}/ can't be read"))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
