//! What servers do, and where the service does not let itself be sent.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sluice_lab::Wait;
use sluice_lab::netns::Process;
use sluice_tests::console::certificates::Authority;

use super::bench::{BOUND, Bench, WEB, import, noise};
use super::server;

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
        import("j-1", 1, &format!("http://{WEB}:84/disk?signature=hush#random")),
        import("j-2", 2, &format!("http://{WEB}:83/away/disk?token=hush#random")),
        import("j-3", 3, &format!("http://{WEB}:84/disk?signature=hush2")),
        import("j-4", 4, &format!("http://bob:hush@{WEB}/nowhere?hush#random")),
    ];
    bench.change(|slice| slice["jobs"] = jobs.into());
    bench.start();
    bench.done("j-1");
    bench.done("j-2");
    assert_eq!(bench.failed("j-3").0, "source-status");
    assert!(bench.failed("j-4").1.contains("404"));
    // by which the manager keeps their digests from being guessed
    assert!(!bench.access().contains("random"), "fragments are sent to nobody: {}", bench.access());
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
    resolver.says("started", BOUND).unwrap();
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

/// nginx again, by TLS with a certificate of `authority`.
fn by_tls(bench: &Bench, authority: &Authority) -> Process {
    let signed = authority.server(WEB);
    std::fs::write(bench.path("chain.pem"), signed.chain).unwrap();
    std::fs::write(bench.path("key.pem"), signed.key).unwrap();
    let own = bench.path("tls");
    std::fs::create_dir(&own).unwrap();
    let text = format!(
        "daemon off; master_process off; error_log stderr; pid {own}/pid; user root;
         events {{ worker_connections 64; }}
         http {{
           access_log off; root {root}; default_type application/octet-stream;
           client_body_temp_path {own}; proxy_temp_path {own}; fastcgi_temp_path {own};
           uwsgi_temp_path {own}; scgi_temp_path {own};
           server {{ listen {WEB}:443 ssl; ssl_certificate {chain}; ssl_certificate_key {key};
             location /down {{ return 302 http://{WEB}/disk; }} }}
         }}",
        own = own.display(),
        root = bench.path("web").display(),
        chain = bench.path("chain.pem").display(),
        key = bench.path("key.pem").display(),
    );
    std::fs::write(bench.path("tls.conf"), text).unwrap();
    let file = bench.path("tls.conf");
    let words = ["nginx".as_ref(), "-c".as_ref(), file.as_os_str()];
    let web = bench.ns.spawn(words).unwrap();
    let up = || bench.ns.sh(&format!("nc -z {WEB} 443")).run().is_ok_and(|output| output.ok());
    Wait::until(BOUND, "nginx", up).unwrap_or_else(|error| panic!("{error}: {}", web.output()));
    web
}

/// By https from whoever has a certificate of an authority that is believed, from nobody else, and never from there to http.
#[test]
fn a_server_is_known_by_its_certificate() {
    let mut bench = Bench::new("https");
    bench.serve("disk", &noise(2 << 20));
    let authority = Authority::new();
    let _web = by_tls(&bench, &authority);
    bench.change(|slice| {
        slice["fetch"]["ports"] = vec![80, 443].into();
        slice["fetch"]["attempts"] = 2.into();
        slice["jobs"] = vec![import("j-1", 1, &format!("https://{WEB}/disk"))].into();
    });
    bench.start();
    let (code, reason) = bench.failed("j-1");
    assert_eq!(code, "source-broken");
    assert!(reason.contains("certificate"), "{reason}");
    bench.change(|slice| {
        slice["authorities"] = authority.pem.as_str().into();
        slice["jobs"] = vec![
            import("j-2", 2, &format!("https://{WEB}/disk")),
            import("j-3", 3, &format!("https://{WEB}/down")),
        ]
        .into();
    });
    bench.done("j-2");
    assert!(std::fs::read(bench.object(2, "web.raw")).unwrap() == noise(2 << 20));
    assert_eq!(bench.failed("j-3").0, "redirect-refused");
}

/// What only the proxy knows the way to comes through it, and its password is told to nobody.
#[test]
fn a_proxy_is_asked_for_all_of_a_source() {
    let mut bench = Bench::new("proxy");
    let disk = noise(2 << 20);
    let served = disk.clone();
    let asked = server::start(&bench.ns, "192.0.2.20:3128", move |request, stream| {
        server::range(request, stream, &served, "\"a\"");
    });
    bench.change(|slice| {
        slice["proxy"] = "http://bob:hush@192.0.2.20:3128".into();
        slice["jobs"] = vec![import("j-1", 1, "http://images.example.com/disk")].into();
    });
    bench.start();
    bench.done("j-1");
    assert!(std::fs::read(bench.object(1, "web.raw")).unwrap() == disk);
    assert!(asked.load(Ordering::SeqCst) > 0, "it came by another way");
    let told = format!("{}{}", bench.report(), bench.log());
    assert!(!told.contains("hush"), "{told}");
}

/// A resolver that leads outside the first time and inside from then on; counts how often it was asked for an address.
fn rebinding(bench: &Bench) -> Arc<AtomicUsize> {
    let socket = bench.ns.enter(|| UdpSocket::bind("192.0.2.20:53").unwrap()).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            let answer = rebound(&packet[..length], &counter);
            let _ = socket.send_to(&answer, from);
        }
    });
    asked
}

/// The answer to a query for one name, RFC 1035 4.1; it is good for no time at all.
fn rebound(query: &[u8], counter: &AtomicUsize) -> Vec<u8> {
    let name = query[12..].iter().position(|byte| *byte == 0).unwrap();
    let question = &query[12..12 + name + 5];
    let has_address = question[name + 1..name + 3] == [0, 1];
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    answer.extend(question);
    if has_address {
        let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
        let address = if first { WEB.parse().unwrap() } else { Ipv4Addr::LOCALHOST };
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}

/// A name that is judged outside, and inside when it is asked for again: what was judged is what is connected to.
#[test]
fn a_name_that_leads_inside_the_second_time_leads_nowhere() {
    let mut bench = Bench::new("rebinding");
    let disk = noise(2 << 20);
    let served = disk.clone();
    let outside = server::start(&bench.ns, "192.0.2.10:90", move |request, stream| {
        server::range(request, stream, &served, "\"a\"");
    });
    let inside = server::start(&bench.ns, "127.0.0.1:90", move |request, stream| {
        server::range(request, stream, &disk, "\"a\"");
    });
    let asked = rebinding(&bench);
    bench.change(|slice| {
        slice["resolvers"] = vec!["192.0.2.20"].into();
        slice["jobs"] = vec![import("j-1", 1, "http://rebind.test:90/disk")].into();
    });
    bench.start();
    let (code, reason) = bench.failed("j-1");
    assert_eq!(code, "address-refused", "{reason}");
    assert!(asked.load(Ordering::SeqCst) > 1, "it was asked for again");
    assert!(outside.load(Ordering::SeqCst) > 0, "the first answer was good");
    assert_eq!(inside.load(Ordering::SeqCst), 0);
}
