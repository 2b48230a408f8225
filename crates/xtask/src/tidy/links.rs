//! Pages: links that lead somewhere, and two READMEs that tell the same.

use std::path::{Component, Path, PathBuf};

/// Complaints about the relative links of one page, by its path from the root.
pub(super) fn check(page: &Path, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, target) in targets(text) {
        let file = target.split(['#', '?']).next().unwrap_or_default();
        if file.is_empty() || is_elsewhere(target) {
            continue;
        }
        let path = page.parent().unwrap_or(Path::new("")).join(file.replace("%20", " "));
        if file.starts_with('/') || !within(&path).is_some_and(|path| exists(&path)) {
            complaints.push(format!("{}:{number}: the link to {target} leads to no file", page.display()));
        }
    }
    complaints
}

/// The Spanish README is the English one in Spanish: the same shape.
pub(super) fn check_twins(english: Option<&str>, spanish: Option<&str>) -> Vec<String> {
    let (Some(english), Some(spanish)) = (english, spanish) else {
        return vec![
            "README.md and README.es.md are both needed: the one page everybody reads, in both languages"
                .to_owned(),
        ];
    };
    let (english, spanish) = (Shape::of(english), Shape::of(spanish));
    if english == spanish {
        return Vec::new();
    }
    vec![format!(
        "README.md has {} headings and {} code blocks, README.es.md {} and {}: one says what the other doesn't",
        english.headings, english.blocks, spanish.headings, spanish.blocks
    )]
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Shape {
    headings: usize,
    blocks: usize,
}

impl Shape {
    fn of(text: &str) -> Self {
        let mut shape = Self::default();
        for (_, line) in outside_code(text, |_| shape.blocks += 1) {
            let level = line.bytes().take_while(|byte| *byte == b'#').count();
            if (1..=6).contains(&level) && line[level..].starts_with(' ') {
                shape.headings += 1;
            }
        }
        shape
    }
}

/// The lines that are no code, with their numbers; `on_block` hears of each block of code.
fn outside_code(text: &str, mut on_block: impl FnMut(usize)) -> Vec<(usize, &str)> {
    let mut fence: Option<&str> = None;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mark = ["```", "~~~"].into_iter().find(|mark| line.trim_start().starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => {
                fence = Some(mark);
                on_block(number);
            }
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => lines.push((number, line)),
            (Some(_), _) => {}
        }
    }
    lines
}

/// What links and pictures point to: `](target)`, `[name]: target`, `src="target"`, `srcset="target"`, `href="target"`.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in outside_code(text, |_| {}) {
        for (open, close) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"'), ("href=\"", '"')] {
            for (at, _) in line.match_indices(open) {
                let rest = &line[at + open.len()..];
                let target = rest.split(close).next().unwrap_or_default();
                // A title may follow.
                found.extend(
                    target.split_whitespace().next().map(|target| (number, target.trim_matches(['<', '>']))),
                );
            }
        }
        let defined = line.starts_with('[').then(|| line.split_once("]: ")).flatten();
        found.extend(
            defined.and_then(|(_, rest)| rest.split_whitespace().next()).map(|target| (number, target)),
        );
    }
    found
}

fn is_elsewhere(target: &str) -> bool {
    ["http:", "https:", "mailto:", "data:"].iter().any(|scheme| target.starts_with(scheme))
}

/// The path without its `..`; nothing where it leaves the workspace.
fn within(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir if !plain.pop() => return None,
            Component::Normal(name) => plain.push(name),
            _ => {}
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files() {
        let there = ["README.md", "docs/a.md", "docs/pic.svg", "crates/pg"];
        let exists = |path: &Path| there.iter().any(|one| Path::new(one) == path);
        let text = "# T\n[a](a.md) [b](../README.md#top 'title') [c](#here) [d](https://x.example/y) ![p](pic.svg)\n\
                    ```\n[in code](nowhere.md)\n```\n<img src=\"pic.svg\"> [dir](../crates/pg)\n[r]: a.md\n";
        assert_eq!(check(Path::new("docs/b.md"), text, exists), Vec::<String>::new());
        for target in ["gone.md", "../gone.md", "../../outside.md", "/README.md", "a.md/b"] {
            for link in
                [format!("[x]({target})"), format!("[x]: {target}"), format!("<img src=\"{target}\">")]
            {
                let complaints = check(Path::new("docs/b.md"), &format!("\n{link}\n"), exists);
                assert_eq!(complaints, [format!("docs/b.md:2: the link to {target} leads to no file")]);
            }
        }
    }

    #[test]
    fn twins_have_one_shape() {
        let english = "# Portero\n\n## Start\n```sh\n# not a heading\ncargo run\n```\n";
        let spanish = "# Portero\n\n## Empezar\n```sh\ncargo run\n```\n";
        assert!(check_twins(Some(english), Some(spanish)).is_empty());
        let short = check_twins(Some(english), Some("# Portero\n"));
        assert!(short[0].contains("2 headings and 1 code blocks, README.es.md 1 and 0"), "{short:?}");
        assert!(check_twins(Some(english), None)[0].contains("both needed"));
    }
}
