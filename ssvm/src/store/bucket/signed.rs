//! Requests to S3 with a signature of version 4 (AWS Signature Version 4, "Signing and authenticating REST requests").

use ring::{digest, hmac};
use sluice_api::types::Secret;
use time::OffsetDateTime;

/// Who asks, and where.
pub(super) struct Signer<'a> {
    pub(super) region: &'a str,
    pub(super) user: &'a str,
    pub(super) secret: &'a Secret,
}

/// A request to be signed.
pub(super) struct Unsigned<'a> {
    pub(super) method: &'a str,
    /// As in the `Host` header.
    pub(super) host: &'a str,
    /// With its percent signs.
    pub(super) path: &'a str,
    /// Names and values as they are, sorted by name.
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// Everything but letters, digits, `-`, `.`, `_` and `~` becomes `%XX`.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

/// `a=b&c=d` as it is sent and signed.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{}={}", encoded(name), encoded(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

impl Signer<'_> {
    /// The headers that make `request` ours at this time.
    pub(super) fn headers(
        &self,
        request: &Unsigned<'_>,
        now: OffsetDateTime,
    ) -> [(&'static str, String); 3] {
        let day = format!("{:04}{:02}{:02}", now.year(), u8::from(now.month()), now.day());
        let time = format!("{day}T{:02}{:02}{:02}Z", now.hour(), now.minute(), now.second());
        let body = sha256(request.body);
        let signed = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "{}\n{}\n{}\nhost:{}\nx-amz-content-sha256:{body}\nx-amz-date:{time}\n\n{signed}\n{body}",
            request.method,
            request.path,
            query(request.query),
            request.host,
        );
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let first = format!("AWS4{}", self.secret.reveal());
        let key = [&day, self.region, "s3", "aws4_request"]
            .into_iter()
            .fold(first.into_bytes(), |key, part| mac(&key, part).as_ref().to_vec());
        let signature = hex(mac(&key, &text).as_ref());
        let user = self.user;
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={user}/{scope}, SignedHeaders={signed}, Signature={signature}"
        );
        [("authorization", authorization), ("x-amz-content-sha256", body), ("x-amz-date", time)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The guide's own example, "GET Bucket Lifecycle".
    #[test]
    fn the_signature_is_that_of_the_guide() {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let signer = Signer { region: "us-east-1", user: "AKIAIOSFODNN7EXAMPLE", secret: &secret };
        let request = Unsigned {
            method: "GET",
            host: "examplebucket.s3.amazonaws.com",
            path: "/",
            query: &[("lifecycle", "")],
            body: b"",
        };
        let now = OffsetDateTime::from_unix_timestamp(1_369_353_600).unwrap();
        let [(_, authorization), ..] = signer.headers(&request, now);
        let expected = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543";
        assert!(authorization.ends_with(expected), "{authorization}");
    }
}
