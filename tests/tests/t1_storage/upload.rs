//! Uploads by curl over the tus protocol.

use super::bench::{BOUND, Bench, HERE, noise};
use serde_json::json;
use sluice_ssvm::slice::TokenHash;

const TOKEN: &str = "a-token-that-nobody-guesses";

fn ready(test: &str) -> Bench {
    let mut bench = Bench::new(test);
    bench.change(|slice| {
        slice["jobs"] = json!([{ "id": "j-1", "what": { "import": { "source": "upload",
            "store": "local", "place": { "template": { "account": 2, "id": 1, "name": "web" } } } } }]);
        slice["grants"] = json!([{ "id": "g-1", "token": TokenHash::of(TOKEN),
            "expires": 4_102_444_800_u64,
            "permission": { "upload": { "job": "j-1", "most_bytes": 4 << 20 } } }]);
    });
    bench.start();
    bench
}

/// curl with the token; returns status, the header asked for, and what was said.
fn ask(
    bench: &Bench,
    method: &str,
    path: &str,
    headers: &[&str],
    body: Option<&str>,
) -> (u16, String) {
    let url = format!("http://{HERE}{path}");
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let mut words = vec!["-D", "-", "-H", &bearer, "-H", "Tus-Resumable: 1.0.0"];
    if method == "HEAD" {
        words.push("-I");
    } else {
        words.extend(["-X", method]);
    }
    words.extend(headers.iter().flat_map(|header| ["-H", header]));
    if let Some(body) = body {
        words.extend([
            "-H",
            "Content-Type: application/offset+octet-stream",
            "--data-binary",
            body,
        ]);
    }
    words.push(&url);
    let said = bench.curl(&words).stdout;
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("HTTP/1.1")).collect();
    let status = lines.last().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    (status, said)
}

fn header<'a>(said: &'a str, name: &str) -> Option<&'a str> {
    said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn base64_sha256(path: &std::path::Path) -> String {
    let line = format!("sha256sum {} | cut -c1-64 | xxd -r -p | base64 -w0", path.display());
    let output = sluice_programs::command("sh").unwrap().args(["-c", &line]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn curl_uploads_in_pieces_over_a_restart_and_a_bad_piece_is_sent_again() {
    let mut bench = ready("upload");
    let disk = noise(2 << 20);
    let (first, second) = disk.split_at(1 << 20);
    std::fs::write(bench.path("first"), first).unwrap();
    std::fs::write(bench.path("second"), second).unwrap();
    let data = |name: &str| format!("@{}", bench.path(name).display());
    let (first_data, second_data) = (data("first"), data("second"));
    let (status, said) = ask(&bench, "OPTIONS", "/upload", &[], None);
    assert_eq!((status, header(&said, "tus-version")), (204, Some("1.0.0")), "{said}");
    let length = format!("Upload-Length: {}", disk.len());
    let (status, said) = ask(&bench, "POST", "/upload", &[&length], None);
    assert_eq!((status, header(&said, "location")), (201, Some("/upload/j-1")), "{said}");
    let sum = format!("Upload-Checksum: sha256 {}", base64_sha256(&bench.path("first")));
    let wrong = format!("Upload-Checksum: sha256 {}", base64_sha256(&bench.path("second")));
    let at = |offset: usize| format!("Upload-Offset: {offset}");
    let patch = |bench: &Bench, headers: &[&str], body: &str| {
        let (status, said) = ask(bench, "PATCH", "/upload/j-1", headers, Some(body));
        (status, header(&said, "upload-offset").map(str::to_owned))
    };
    assert_eq!(patch(&bench, &[&at(0), &wrong], &first_data).0, 460, "a flipped piece");
    assert_eq!(patch(&bench, &[&at(0), &sum], &first_data), (204, Some((1 << 20).to_string())));
    assert_eq!(patch(&bench, &[&at(0), &sum], &first_data).0, 409, "the same again");
    bench.kill();
    bench.start();
    let (status, said) = ask(&bench, "HEAD", "/upload/j-1", &[], None);
    assert_eq!((status, header(&said, "upload-offset")), (200, Some("1048576")), "{said}");
    assert_eq!(patch(&bench, &[&at(1 << 20)], &second_data).0, 204);
    let done = bench.done("j-1");
    assert_eq!(done["object"]["origin"]["from"], "upload");
    assert!(std::fs::read(bench.object(1, "web.raw")).unwrap() == disk);
    let (_, said) = ask(&bench, "GET", "/upload/j-1/state", &[], None);
    assert!(said.contains("\"state\":\"done\""), "{said}");
    assert!(!bench.log().contains(TOKEN), "{}", bench.log());
}

/// The kernel kills it in the middle of a piece: nothing is visible, and no more than that piece is sent again.
#[test]
fn an_upload_goes_on_where_the_service_was_killed() {
    let mut bench = ready("upload-killed");
    bench.kill();
    let disk = noise(3 << 20);
    let send = |bench: &Bench, at: usize, length: usize| {
        std::fs::write(bench.path("piece"), &disk[at..at + length]).unwrap();
        let (offset, piece) = (format!("Upload-Offset: {at}"), bench.path("piece"));
        ask(bench, "PATCH", "/upload/j-1", &[&offset], Some(&format!("@{}", piece.display()))).0
    };
    bench.start_bounded(3 << 19);
    bench.service().says("storage started", BOUND).unwrap();
    let length = format!("Upload-Length: {}", disk.len());
    assert_eq!(ask(&bench, "POST", "/upload", &[&length], None).0, 201);
    assert_eq!(send(&bench, 0, 1 << 20), 204);
    assert_ne!(send(&bench, 1 << 20, 1 << 20), 204, "it was killed meanwhile");
    bench.dies();
    assert!(!bench.object(1, "web.raw").exists(), "nothing is half-visible");
    bench.start();
    let (_, said) = ask(&bench, "HEAD", "/upload/j-1", &[], None);
    let at: usize = header(&said, "upload-offset").unwrap().trim().parse().unwrap();
    assert!((1 << 20..=3 << 19).contains(&at), "it goes on at {at}");
    assert_eq!(send(&bench, at, disk.len() - at), 204);
    bench.done("j-1");
    assert!(std::fs::read(bench.object(1, "web.raw")).unwrap() == disk);
    assert_eq!(bench.parts(), Vec::<String>::new());
}

#[test]
fn an_upload_needs_its_grant_and_keeps_to_it() {
    let mut bench = ready("grant");
    std::fs::write(bench.path("page"), "<html>not an image</html>").unwrap();
    let page = format!("@{}", bench.path("page").display());
    let url = format!("http://{HERE}/upload");
    let status = |words: &[&str]| {
        let mut all = vec!["-o", "/dev/null", "-w", "%{http_code}"];
        all.extend(words);
        bench.curl(&all).stdout
    };
    let tus = ["-X", "POST", "-H", "Tus-Resumable: 1.0.0", "-H", "Upload-Length: 5"];
    assert_eq!(status(&[&tus[..], &[&url]].concat()), "401");
    let other = ["-H", "Authorization: Bearer somebody-elses"];
    assert_eq!(status(&[&tus[..], &other, &[&url]].concat()), "404");
    assert_eq!(
        ask(&bench, "POST", "/upload", &["Upload-Length: 4194305"], None).0,
        413,
        "over quota"
    );
    assert_eq!(ask(&bench, "POST", "/upload", &["Tus-Resumable: 0.2.2"], None).0, 412);
    assert_eq!(ask(&bench, "HEAD", "/upload/j-2", &[], None).0, 404, "another job's");
    assert_eq!(ask(&bench, "POST", "/upload", &["Upload-Length: 25"], None).0, 201);
    let (status, said) = ask(&bench, "PATCH", "/upload/j-1", &["Upload-Offset: 0"], Some(&page));
    assert_eq!(status, 204, "a page is told when it is whole: {said}");
    assert_eq!(bench.failed("j-1").0, "web-page");
    assert_eq!(ask(&bench, "HEAD", "/upload/j-1", &[], None).0, 410, "it is over");
    bench.change(|slice| slice["grants"][0]["expires"] = 5.into());
    assert_eq!(ask(&bench, "POST", "/upload", &["Upload-Length: 25"], None).0, 410, "it expired");
}

#[test]
fn the_page_has_all_that_it_needs_and_lets_nothing_else_in() {
    let bench = ready("page");
    for (path, kind) in [
        ("/upload", "text/html"),
        ("/upload/page.js", "text/javascript"),
        ("/upload/page.css", "text/css"),
    ] {
        let (status, said) = ask(&bench, "GET", path, &[], None);
        assert_eq!(status, 200, "{said}");
        assert!(header(&said, "content-type").unwrap().starts_with(kind), "{said}");
        let policy = header(&said, "content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    }
}
