//! The pages as browsers get them: whole, escaped, and without anything the security policy would stop.

#[path = "../examples/gallery/samples.rs"]
mod samples;

use portero_web::{Lang, assets};

fn all_pages() -> Vec<(String, String, Lang)> {
    Lang::ALL
        .into_iter()
        .flat_map(|lang| {
            samples::pages(lang)
                .expect("every page renders")
                .into_iter()
                .map(move |(name, html)| (name, html, lang))
        })
        .collect()
}

#[test]
fn every_page_renders_whole_in_both_languages() {
    let pages = all_pages();
    assert!(pages.len() >= 60, "{}", pages.len());
    for (name, html, lang) in pages {
        assert!(html.starts_with("<!doctype html>"), "{name}");
        assert!(html.contains(&format!("<html lang=\"{}\">", lang.code())), "{name}");
        assert_eq!(html.matches("<h1").count(), 1, "{name} has one first heading");
        assert!(!html.contains("<title></title>") && html.trim_end().ends_with("</html>"), "{name}");
        for other in Lang::ALL {
            assert!(html.contains(&format!("?lang={}\"", other.code())), "{name} leads to {other:?}");
        }
    }
}

#[test]
fn the_languages_differ_on_every_page() {
    let spanish = samples::pages(Lang::Es).unwrap();
    let english = samples::pages(Lang::En).unwrap();
    for ((name, es), (_, en)) in spanish.iter().zip(&english) {
        let title =
            |html: &str| html.split("<title>").nth(1).unwrap().split("</title>").next().unwrap().to_owned();
        assert_ne!(title(es), title(en), "{name}");
    }
}

#[test]
fn what_people_typed_stays_text() {
    for (name, html, _) in all_pages() {
        assert!(!html.contains("<script>"), "{name}");
        assert!(!html.contains(samples::HOSTILE), "{name}");
        assert!(!html.contains("/users/u4/../x"), "{name}");
    }
    let (_, html) =
        samples::pages(Lang::En).unwrap().into_iter().find(|(name, _)| name == "signup-busy").unwrap();
    assert!(html.contains("&#60;script&#62;alert(1)&#60;/script&#62;"), "it is there, as text");
}

#[test]
fn nothing_needs_an_exception_from_the_security_policy() {
    for (name, html, _) in all_pages() {
        for inline in [" style=\"", "<style", " onclick=", " onload=", " onsubmit=", "javascript:", "data:"] {
            assert!(!html.contains(inline), "{name} has {inline}");
        }
        let sources = html.split(" src=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
        for source in sources {
            let file = source.strip_prefix(assets::PREFIX).unwrap_or_else(|| panic!("{name}: {source}"));
            assert_eq!(assets::find(file).unwrap().cache_control, assets::IMMUTABLE, "{name}: {source}");
        }
        assert!(html.contains(&assets::stylesheet().url), "{name}");
    }
}

#[test]
fn passwords_are_never_sent_back() {
    for (name, html, _) in all_pages() {
        for input in html.split("type=\"password\"").skip(1) {
            assert!(!input.split('>').next().unwrap_or_default().contains("value="), "{name}");
        }
    }
}

#[test]
fn ids_are_one_of_a_kind_and_descriptions_exist() {
    for (name, html, _) in all_pages() {
        let ids: Vec<&str> = attribute(&html, "id");
        for id in &ids {
            assert_eq!(ids.iter().filter(|other| other == &id).count(), 1, "{name}: {id}");
        }
        let described = attribute(&html, "aria-describedby").into_iter().flat_map(str::split_whitespace);
        for id in described.chain(attribute(&html, "for")).chain(attribute(&html, "aria-labelledby")) {
            assert!(ids.contains(&id), "{name}: nothing is called {id}");
        }
    }
}

#[test]
fn members_get_no_actions_and_the_last_administrator_stays() {
    let page = |wanted: &str| {
        samples::pages(Lang::En).unwrap().into_iter().find(|(name, _)| name == wanted).unwrap().1
    };
    let member = page("home-member");
    assert!(!member.contains("action=\"/users"));
    assert!(member.contains("action=\"/logout\""));
    let admin = page("home-admin");
    assert_eq!(admin.matches(" disabled aria-describedby=\"last-admin\"").count(), 2);
    let forms = admin.matches("method=\"post\"").count();
    assert_eq!(admin.matches("name=\"csrf\"").count(), forms, "every form of a company's page has its token");
}

#[test]
fn a_removal_that_is_stuck_is_not_said_to_be_taken_back() {
    for lang in Lang::ALL {
        let pages = samples::pages(lang).unwrap();
        let (_, html) = pages.into_iter().find(|(name, _)| name == "console-job-stuck").unwrap();
        let w = lang.words().console;
        let text = |text: &str| html.contains(&text.replace('\'', "&#39;"));
        assert!(text(w.stuck_purge_text) && !text(w.stuck_text), "{lang:?}");
    }
}

#[test]
fn pages_that_wait_refresh_without_the_script() {
    for (name, html, _) in all_pages() {
        let refreshes = html.contains("http-equiv=\"refresh\"");
        let waits = [
            "progress-running",
            "progress-undoing",
            "progress-done",
            "message-tenant-provisioning",
            "message-tenant-upgrading",
            "budget",
            "console-migration-running",
            "console-migration-interrupted",
        ]
        .contains(&name.as_str());
        assert_eq!(refreshes, waits, "{name}");
    }
}

/// The values of an attribute, wherever it occurs.
fn attribute<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    html.split(&format!(" {name}=\"")).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}
