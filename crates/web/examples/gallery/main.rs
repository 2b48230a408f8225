//! Renders every page, in both languages, into `target/gallery/`: open `index.html` there to look at them.
//!
//! `cargo run -p portero-web --example gallery`

mod samples;

use portero_web::{Lang, assets};
use std::{fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let gallery = target.join("gallery");
    fs::create_dir_all(gallery.join("static"))?;
    for asset in assets::all() {
        fs::write(gallery.join("static").join(&asset.hashed_name), asset.bytes)?;
    }
    let mut index = String::from("<!doctype html><meta charset=utf-8><title>Portero</title><ul>");
    for lang in Lang::ALL {
        for (name, html) in samples::pages(lang).map_err(io::Error::other)? {
            let file = format!("{name}.{}.html", lang.code());
            fs::write(gallery.join(&file), html.replace("\"/static/", "\"static/"))?;
            index.push_str(&format!("<li><a href={file}>{file}</a>"));
        }
    }
    fs::write(gallery.join("index.html"), index)
}
