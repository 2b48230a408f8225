//! The files that browsers fetch, built into the binary, each under a URL that changes with its content.
//!
//! A URL such as `/static/portero.0123456789abcdef.css` may be cached for ever. The plain name, and the hash of
//! another release (a page rendered before an update asks for it), answer too, but not for keeping.

use std::sync::LazyLock;

/// Where the handler of static files is mounted.
pub const PREFIX: &str = "/static/";

/// What to send as `Cache-Control` with an asset asked for by its own hash.
pub const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// What to send as `Cache-Control` with an asset asked for by another name.
pub const REVALIDATE: &str = "no-cache";

/// One static file.
#[derive(Debug)]
pub struct Asset {
    /// Its plain name: `portero.css`.
    pub name: &'static str,
    /// Its name with the hash of its content: `portero.0123456789abcdef.css`.
    pub hashed_name: String,
    /// Its path on every host: [`PREFIX`] and the hashed name.
    pub url: String,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// What is in it.
    pub bytes: &'static [u8],
}

/// An asset that was found, and how long it may be kept.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// The file.
    pub asset: &'static Asset,
    /// The value of `Cache-Control`: [`IMMUTABLE`] or [`REVALIDATE`].
    pub cache_control: &'static str,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        asset("portero.css", "text/css; charset=utf-8", include_bytes!("../static/portero.css")),
        asset("portero.js", "text/javascript; charset=utf-8", include_bytes!("../static/portero.js")),
        asset("portero.svg", "image/svg+xml", include_bytes!("../static/portero.svg")),
    ]
});

/// All of them.
#[must_use]
pub fn all() -> &'static [Asset] {
    &*ASSETS
}

/// The stylesheet.
#[must_use]
pub fn stylesheet() -> &'static Asset {
    &ASSETS[0]
}

/// The script. Pages work without it.
#[must_use]
pub fn script() -> &'static Asset {
    &ASSETS[1]
}

/// The mark: logo and favicon.
#[must_use]
pub fn mark() -> &'static Asset {
    &ASSETS[2]
}

/// Finds a file by what follows [`PREFIX`] in the path.
#[must_use]
pub fn find(file_name: &str) -> Option<Found> {
    let plain = without_hash(file_name);
    let asset = ASSETS.iter().find(|asset| plain.as_deref().unwrap_or(file_name) == asset.name)?;
    let cache_control = if asset.hashed_name == file_name { IMMUTABLE } else { REVALIDATE };
    Some(Found { asset, cache_control })
}

/// `portero.css` of `portero.<16 hex>.css`.
fn without_hash(file_name: &str) -> Option<String> {
    let (rest, extension) = file_name.rsplit_once('.')?;
    let (stem, hash) = rest.rsplit_once('.')?;
    let is_hash = hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    is_hash.then(|| format!("{stem}.{extension}"))
}

fn asset(name: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Asset {
    let hash = fnv1a(bytes);
    let hashed_name = match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}.{hash:016x}.{extension}"),
        None => format!("{name}.{hash:016x}"),
    };
    Asset { name, url: format!("{PREFIX}{hashed_name}"), hashed_name, content_type, bytes }
}

/// FNV-1a, 64 bits: tells one release of a file from the next, which is all that is asked of it.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_carry_the_hash_and_lead_back_to_the_file() {
        for asset in all() {
            assert!(!asset.bytes.is_empty(), "{}", asset.name);
            let path = asset.url.strip_prefix(PREFIX).unwrap();
            let found = find(path).unwrap();
            assert_eq!((found.asset.name, found.cache_control), (asset.name, IMMUTABLE));
            assert_eq!(find(asset.name).unwrap().cache_control, REVALIDATE);
        }
    }

    #[test]
    fn another_releases_hash_answers_but_not_for_keeping() {
        let found = find("portero.0000000000000000.css").unwrap();
        assert_eq!((found.asset.name, found.cache_control), ("portero.css", REVALIDATE));
    }

    #[test]
    fn other_names_are_not_there() {
        for name in ["", "portero", "../portero.css", "portero.xyz.css", "portero.css.map", ".css", "lib.rs"]
        {
            assert!(find(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
