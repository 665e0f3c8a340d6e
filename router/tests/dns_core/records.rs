//! Records of the operator's own.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use sluice_router::dns::answer::Verdict;

use super::{Bench, SLICE, answers, code, query};

/// A slice whose first network has these records.
fn with_records(records: &serde_json::Value) -> String {
    let mut slice: serde_json::Value = serde_json::from_str(SLICE).unwrap();
    slice["networks"][0]["records"] = records.clone();
    slice.to_string()
}

#[test]
fn records_of_the_operator_s_own_are_answered_wherever_their_names_are() {
    let bench = Bench::new(&with_records(&serde_json::json!([
        { "name": "www.cs1.cloud.internal", "data": { "cname": "web.cs1.cloud.internal" } },
        { "name": "web.cs1.cloud.internal", "data": { "cname": "vm1.cs1.cloud.internal" } },
        { "name": "vm1.cs1.cloud.internal", "ttl": 7, "data": { "aaaa": "2001:db8::23" } },
        { "name": "_ldap._tcp.cs1.cloud.internal",
          "data": { "srv": { "priority": 1, "weight": 2, "port": 389, "target": "vm1.cs1.cloud.internal" } } },
        { "name": "intranet.example", "data": { "a": "192.0.2.7" } },
        { "name": "intranet.example", "data": { "a": "192.0.2.8" } },
        { "name": "intranet.example", "data": { "mx": { "preference": 10, "exchange": "mail.example" } } },
        { "name": "intranet.example", "data": { "txt": "hello there" } },
        { "name": "7.2.0.192.in-addr.arpa", "data": { "ptr": "intranet.example" } },
    ])));
    let reply = bench.ask("WWW.cs1.cloud.internal.", RecordType::A);
    let chain = ["web.cs1.cloud.internal.", "vm1.cs1.cloud.internal.", "10.1.1.23"];
    assert_eq!(answers(&reply), chain);
    assert_eq!(reply.answers[2].name.to_ascii(), "vm1.cs1.cloud.internal.");
    assert_eq!(answers(&bench.ask("www.cs1.cloud.internal.", RecordType::CNAME)), chain[..1]);
    let six = bench.ask("vm1.cs1.cloud.internal.", RecordType::AAAA);
    assert_eq!((answers(&six), six.answers[0].ttl), (vec!["2001:db8::23".to_owned()], 7));
    assert_eq!(answers(&bench.ask("vm1.cs1.cloud.internal.", RecordType::A)), ["10.1.1.23"]);
    let service = bench.ask("_ldap._tcp.cs1.cloud.internal.", RecordType::SRV);
    assert_eq!(answers(&service), ["1 2 389 vm1.cs1.cloud.internal."]);
    let between = bench.ask("_tcp.cs1.cloud.internal.", RecordType::A);
    assert_eq!((code(&between), between.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(answers(&bench.ask("intranet.example.", RecordType::A)).len(), 2);
    assert_eq!(answers(&bench.ask("intranet.example.", RecordType::MX)), ["10 mail.example."]);
    assert_eq!(answers(&bench.ask("intranet.example.", RecordType::TXT)), ["hello there"]);
    let none = bench.ask("intranet.example.", RecordType::AAAA);
    assert_eq!((code(&none), none.answers.len()), (ResponseCode::NoError, 0), "ours, and none");
    let pointer = bench.ask("7.2.0.192.in-addr.arpa.", RecordType::PTR);
    assert_eq!(answers(&pointer), ["intranet.example."]);
    // another domain's guests know nothing of it
    let mut out = [0; 1232];
    let message = query("intranet.example.", RecordType::A).to_vec().unwrap();
    let verdict = bench.raw(&message, "10.2.7.9", "10.2.0.1", &mut out);
    assert!(matches!(verdict, Verdict::Forward(_)), "forwarded as any name");
}

#[test]
fn aliases_that_go_round_end() {
    let bench = Bench::new(&with_records(&serde_json::json!([
        { "name": "a.cs1.cloud.internal", "data": { "cname": "b.cs1.cloud.internal" } },
        { "name": "b.cs1.cloud.internal", "data": { "cname": "a.cs1.cloud.internal" } },
    ])));
    let reply = bench.ask("a.cs1.cloud.internal.", RecordType::A);
    assert!(reply.answers.len() <= 9, "{}", reply.answers.len());
}
