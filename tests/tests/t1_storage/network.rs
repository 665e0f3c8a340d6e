//! What servers do, and where the service does not let itself be sent.

use super::bench::{Bench, WEB, import, noise};

#[test]
fn ranges_are_used_where_there_are_some_and_not_needed_where_not() {
    let mut bench = Bench::new("ranges");
    bench.serve("disk", &noise(3 << 20));
    let jobs = [("j-80", 1, "80"), ("j-81", 2, "81")];
    let jobs = jobs.map(|(job, id, port)| import(job, id, &format!("http://{WEB}:{port}/disk")));
    bench.change(|slice| slice["jobs"] = jobs.to_vec().into());
    bench.start();
    for (job, id) in [("j-80", 1), ("j-81", 2)] {
        let done = bench.done(job);
        assert_eq!(done["fetched"], 3 << 20, "not a byte twice");
        assert!(std::fs::read(bench.object(id, "web.raw")).unwrap() == noise(3 << 20));
    }
    let access = bench.access();
    assert_eq!(access.matches(" 206 ").count(), 12, "{access}");
    assert_eq!(access.matches(" 200 ").count(), 1, "{access}");
    assert!(!access.contains("HEAD"), "{access}");
}

#[test]
fn a_signed_link_that_allows_get_alone_is_followed_and_its_signature_told_to_nobody() {
    let mut bench = Bench::new("signed");
    bench.serve("disk", &noise(2 << 20));
    let jobs = vec![
        import("j-1", 1, &format!("http://{WEB}:84/disk?signature=hush")),
        import("j-2", 2, &format!("http://{WEB}:83/away/disk?token=hush")),
        import("j-3", 3, &format!("http://{WEB}:84/disk?signature=hush2")),
        import("j-4", 4, &format!("http://bob:hush@{WEB}/nowhere?hush")),
    ];
    bench.change(|slice| slice["jobs"] = jobs.into());
    bench.start();
    bench.done("j-1");
    bench.done("j-2");
    assert_eq!(bench.failed("j-3").0, "source-status");
    assert!(bench.failed("j-4").1.contains("404"));
    let report = bench.report().to_string();
    assert!(!report.contains("hush"), "{report}");
    assert!(!bench.log().contains("hush"), "{}", bench.log());
    for entry in std::fs::read_dir(bench.path("journal/jobs")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("hush"), "{text}");
    }
}

#[test]
fn nothing_inside_is_reached_by_address_by_redirect_or_by_name() {
    let mut bench = Bench::new("inside");
    bench.serve("disk", &noise(2 << 20));
    bench.serve("latest", &noise(2 << 20));
    let words = [
        "dnsmasq",
        "-k",
        "-C",
        "/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
        "--listen-address=192.0.2.20",
        "--bind-interfaces",
        "--pid-file=",
        "--log-facility=-",
        "--address=/metadata.test/169.254.169.254",
        "--address=/local.test/127.0.0.1",
        "--address=/web.test/192.0.2.10",
        "--address=/private.test/10.7.0.1",
    ];
    let mut resolver = bench.ns.spawn(words).unwrap();
    resolver.says("started", super::bench::BOUND).unwrap();
    let urls = [
        ("loopback", "http://127.0.0.1/disk".to_owned(), "address-refused"),
        ("mapped", "http://[::ffff:127.0.0.1]/disk".to_owned(), "address-refused"),
        ("decimal", "http://2130706433/disk".to_owned(), "address-refused"),
        ("metadata", "http://169.254.169.254/latest".to_owned(), "address-refused"),
        ("private", "http://10.7.0.1/disk".to_owned(), "address-refused"),
        ("named-metadata", "http://metadata.test/latest".to_owned(), "address-refused"),
        ("named-loopback", "http://local.test/disk".to_owned(), "address-refused"),
        ("named-private", "http://private.test/disk".to_owned(), "address-refused"),
        ("redirected", format!("http://{WEB}:83/metadata"), "address-refused"),
        ("redirected-loopback", format!("http://{WEB}:83/loopback"), "address-refused"),
        ("redirected-file", format!("http://{WEB}:83/file"), "redirect-refused"),
        ("redirected-for-ever", format!("http://{WEB}:83/round"), "redirect-refused"),
        ("port", format!("http://{WEB}:22/disk"), "address-refused"),
    ];
    let mut jobs: Vec<_> =
        urls.iter().enumerate().map(|(n, (job, url, _))| import(job, n as u64, url)).collect();
    jobs.push(import("good", 99, "http://web.test/disk"));
    bench.change(|slice| {
        slice["jobs"] = jobs.into();
        slice["resolvers"] = vec!["192.0.2.20"].into();
    });
    bench.start();
    for (job, _, expected) in &urls {
        let (code, reason) = bench.failed(job);
        assert_eq!(code, *expected, "{job}: {reason}");
    }
    bench.done("good");
    let access = bench.access();
    assert!(!access.contains("/latest"), "{access}");
    // a network that is named is let through, a cloud's own is not even then
    bench.change(|slice| {
        slice["jobs"] = vec![import("private", 200, "http://private.test/disk")].into();
        slice["fetch"]["allowed"] = vec!["10.7.0.0/24"].into();
    });
    bench.done("private");
    bench.change(|slice| {
        slice["jobs"] = vec![import("own", 201, "http://private.test/disk")].into();
        slice["fetch"]["refused"] = vec!["10.0.0.0/8"].into();
    });
    assert_eq!(bench.failed("own").0, "address-refused");
}

#[test]
fn a_source_that_is_too_large_is_refused_when_its_size_is_known() {
    let mut bench = Bench::new("large");
    bench.serve("disk", &noise(3 << 20));
    let jobs = [("j-80", 1, "80"), ("j-81", 2, "81")];
    let jobs = jobs.map(|(job, id, port)| import(job, id, &format!("http://{WEB}:{port}/disk")));
    bench.change(|slice| {
        slice["jobs"] = jobs.to_vec().into();
        slice["limits"]["object_bytes"] = (2 << 20).into();
    });
    bench.start();
    for job in ["j-80", "j-81"] {
        let (code, reason) = bench.failed(job);
        assert_eq!(code, "too-large", "{reason}");
        assert!(bench.job(job)["fetched"].as_u64().unwrap() <= 262_144);
    }
}
