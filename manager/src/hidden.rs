//! What is secret in the addresses of images, where builds before kept them as they were given: it is taken out of whatever
//! is shown.

use serde_json::Value;
use sluice_api::types::SourceUrl;

/// A configuration as it is shown: addresses of its images without what is secret in them.
pub(crate) fn of_configuration(document: String) -> String {
    // routers' are large and have none
    if !document.contains("\"ssvm\"") {
        return document;
    }
    let Ok(mut read) = serde_json::from_str::<Value>(&document) else { return document };
    let jobs = read.pointer_mut("/role/ssvm/jobs").and_then(Value::as_array_mut);
    let mut found = false;
    for job in jobs.into_iter().flatten() {
        let Some(url) = job.pointer_mut("/what/import/source/url") else { continue };
        if let Some(shown) = url.as_str().and_then(shown) {
            *url = shown.into();
            found = true;
        }
    }
    if found { read.to_string() } else { document }
}

/// A line of the history as it is shown. An address in it ends with a space.
pub(crate) fn of_line(line: String) -> String {
    if !line.contains("://") {
        return line;
    }
    let words = line.split(' ').map(|word| {
        // a description's line has it in brackets, before a comma
        let bare = word.trim_start_matches('(').trim_end_matches([',', ')']);
        let shown = shown(bare)?;
        let (before, behind) = word.split_once(bare)?;
        Some(format!("{before}{shown}{behind}"))
    });
    let words: Vec<String> = words
        .zip(line.split(' '))
        .map(|(changed, word)| changed.unwrap_or_else(|| word.to_owned()))
        .collect();
    words.join(" ")
}

/// The address without what is secret in it; none when it has nothing secret, or is none.
fn shown(text: &str) -> Option<String> {
    let address: SourceUrl = text.parse().ok()?;
    address.has_secrets().then(|| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_secret_goes_out_of_a_configuration_and_the_rest_stays_byte_for_byte() {
        let document = |url: &str| {
            let import = json!({ "source": { "url": url }, "store": "is-1" });
            json!({ "role": { "ssvm": { "jobs": [{ "id": "im-1", "what": { "import": import } }] } } })
                .to_string()
        };
        for secret in ["https://bob:hush@h.example/a", "https://h.example/a?k=hush\"hush#hush"] {
            assert_eq!(of_configuration(document(secret)), document("https://h.example/a"));
        }
        for plain in [document("https://h.example/a"), "{ \"role\": {} }".to_owned(), String::new()]
        {
            assert_eq!(of_configuration(plain.clone()), plain);
        }
    }

    #[test]
    fn what_is_secret_goes_out_of_a_line() {
        for (line, shown) in [
            (
                "+ image a (image_store is-1, url https://bob:hush@h.example/a?x, format raw)",
                "+ image a (image_store is-1, url https://h.example/a, format raw)",
            ),
            ("+ image a (url http://h/a?k=hush)", "+ image a (url http://h/a)"),
            ("+ image a (url http://h/a)", "+ image a (url http://h/a)"),
            ("see ftp://u:p@h, :// and (", "see ftp://u:p@h, :// and ("),
        ] {
            assert_eq!(of_line(line.to_owned()), shown);
        }
    }
}
