//! The page, its script and style, and noVNC, all from this binary.
//!
//! Guarantees: everything but the page itself is under a path with the digest of all of them, so browsers keep it for as
//! long as it is the same and never mix two releases.

use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use sha2::{Digest as _, Sha256};

use super::answers::{not_found, whole};

/// Files as they are in the source tree, by their path below `proxy/`.
macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../../", $path)).as_slice())),*]
    };
}

/// The page, in which two places are filled in.
const PAGE: &str = include_str!("../../web/index.html");

/// Everything that the page loads.
const FILES: &[(&str, &[u8])] = files![
    "web/channel.js",
    "web/console.css",
    "web/console.js",
    "web/icon.svg",
    "web/keys.js",
    "novnc/core/base64.js",
    "novnc/core/crypto/aes.js",
    "novnc/core/crypto/bigint.js",
    "novnc/core/crypto/crypto.js",
    "novnc/core/crypto/des.js",
    "novnc/core/crypto/dh.js",
    "novnc/core/crypto/md5.js",
    "novnc/core/crypto/rsa.js",
    "novnc/core/decoders/copyrect.js",
    "novnc/core/decoders/h264.js",
    "novnc/core/decoders/hextile.js",
    "novnc/core/decoders/jpeg.js",
    "novnc/core/decoders/raw.js",
    "novnc/core/decoders/rre.js",
    "novnc/core/decoders/tight.js",
    "novnc/core/decoders/tightpng.js",
    "novnc/core/decoders/zlib.js",
    "novnc/core/decoders/zrle.js",
    "novnc/core/deflator.js",
    "novnc/core/display.js",
    "novnc/core/encodings.js",
    "novnc/core/inflator.js",
    "novnc/core/input/domkeytable.js",
    "novnc/core/input/fixedkeys.js",
    "novnc/core/input/gesturehandler.js",
    "novnc/core/input/keyboard.js",
    "novnc/core/input/keysym.js",
    "novnc/core/input/keysymdef.js",
    "novnc/core/input/util.js",
    "novnc/core/input/vkeys.js",
    "novnc/core/input/xtscancodes.js",
    "novnc/core/ra2.js",
    "novnc/core/rfb.js",
    "novnc/core/util/browser.js",
    "novnc/core/util/cursor.js",
    "novnc/core/util/element.js",
    "novnc/core/util/events.js",
    "novnc/core/util/eventtarget.js",
    "novnc/core/util/int.js",
    "novnc/core/util/logging.js",
    "novnc/core/util/strings.js",
    "novnc/core/websock.js",
    "novnc/vendor/pako/lib/utils/common.js",
    "novnc/vendor/pako/lib/zlib/adler32.js",
    "novnc/vendor/pako/lib/zlib/constants.js",
    "novnc/vendor/pako/lib/zlib/crc32.js",
    "novnc/vendor/pako/lib/zlib/deflate.js",
    "novnc/vendor/pako/lib/zlib/gzheader.js",
    "novnc/vendor/pako/lib/zlib/inffast.js",
    "novnc/vendor/pako/lib/zlib/inflate.js",
    "novnc/vendor/pako/lib/zlib/inftrees.js",
    "novnc/vendor/pako/lib/zlib/messages.js",
    "novnc/vendor/pako/lib/zlib/trees.js",
    "novnc/vendor/pako/lib/zlib/zstream.js",
    "novnc/LICENSE.txt",
    "novnc/LICENSE.MPL-2.0",
    "novnc/vendor/pako/LICENSE",
];

struct Site {
    /// Names this release of the files.
    digest: String,
    page: Bytes,
}

static SITE: LazyLock<Site> = LazyLock::new(|| {
    let mut all = Sha256::new();
    for (path, bytes) in FILES {
        all.update(path.as_bytes());
        all.update(bytes);
    }
    let digest: String = all.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    // named at once, the scripts are fetched side by side and not one after the other as each is read
    let scripts = FILES
        .iter()
        .map(|(path, _)| *path)
        .filter(|path| std::path::Path::new(path).extension().is_some_and(|end| end == "js"));
    let preload =
        scripts.map(|path| format!("<link rel=\"modulepreload\" href=\"assets/{digest}/{path}\">"));
    let preload = preload.collect::<Vec<_>>().join("\n");
    let page =
        PAGE.replace("{{assets}}", &format!("assets/{digest}")).replace("{{preload}}", &preload);
    Site { digest, page: page.into() }
});

/// The page itself.
pub(super) fn page(method: &Method) -> Response<Body> {
    file(method, "text/html; charset=utf-8", SITE.page.clone(), "no-cache")
}

/// The file at `DIGEST/PATH`.
pub(super) fn answer(asset: &str, method: &Method) -> Response<Body> {
    let found = asset
        .split_once('/')
        .filter(|(digest, _)| *digest == SITE.digest)
        .and_then(|(_, path)| FILES.iter().find(|(known, _)| *known == path));
    let Some((path, bytes)) = found else { return not_found() };
    file(method, kind(path), Bytes::from_static(bytes), "public, max-age=31536000, immutable")
}

fn file(method: &Method, kind: &'static str, bytes: Bytes, keep: &'static str) -> Response<Body> {
    let length = HeaderValue::from(bytes.len());
    let body = if *method == Method::HEAD { Body::empty() } else { bytes.into() };
    let mut response = whole(StatusCode::OK, kind, body);
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    response
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { below(&path, found) } else { found.push(path) }
        }
    }

    #[test]
    fn every_script_and_style_of_the_source_tree_is_in_the_binary() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        below(&root.join("novnc"), &mut found);
        below(&root.join("web"), &mut found);
        let served = |path: &PathBuf| {
            path.extension().is_some_and(|it| it == "js" || it == "css" || it == "svg")
        };
        let mut expected: Vec<String> = found
            .iter()
            .filter(|path| served(path))
            .map(|path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned())
            .collect();
        expected.sort();
        let mut embedded: Vec<&str> =
            FILES.iter().map(|(path, _)| *path).filter(|path| !path.contains("LICENSE")).collect();
        embedded.sort_unstable();
        assert_eq!(embedded, expected);
    }

    #[test]
    fn the_page_names_the_release_and_nothing_elsewhere() {
        let page = String::from_utf8(SITE.page.to_vec()).unwrap();
        assert!(!page.contains("{{") && page.contains(&SITE.digest));
        assert!(!page.contains("://") && !page.contains("=\"/"), "only relative addresses");
    }

    #[test]
    fn files_are_found_by_release_and_path_alone() {
        let status = |path: &str| answer(path, &Method::GET).status();
        assert_eq!(status(&format!("{}/novnc/core/rfb.js", SITE.digest)), StatusCode::OK);
        for wrong in ["0000/novnc/core/rfb.js", "", "/", "../Cargo.toml"] {
            assert_eq!(status(wrong), StatusCode::NOT_FOUND, "{wrong}");
        }
        let outside = format!("{}/../Cargo.toml", SITE.digest);
        assert_eq!(status(&outside), StatusCode::NOT_FOUND);
    }
}
