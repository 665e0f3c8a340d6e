use super::*;

#[test]
fn traffic_as_it_is_printed() {
    let lines = [
        "#2: \"s2s-c-1-1\", type=ESP, add_time=1795737600, inBytes=252, outBytes=336, maxBytes=2^63B, id='203.0.113.9'",
        "#4: \"ra-1-1\"[1] 203.0.113.9, type=ESP, add_time=1795737600, inBytes=1, outBytes=2, id='@laptop'",
        "not a line of traffic",
        "#5: \"s2s-c-2-1\":500 STATE_MAIN_I1 (sent Main Mode request); RETRANSMIT in 17s; nodpd; idle;",
        "#x: \"s2s\", type=ESP",
        "#6: \"unended, type=ESP",
    ];
    let found = parse_traffic(&lines);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].number, found[0].name.as_str()), (2, "s2s-c-1-1"));
    assert_eq!((found[0].bytes_in, found[0].bytes_out), (252, 336));
    assert_eq!(found[0].peer_id, "203.0.113.9");
    assert_eq!((found[1].name.as_str(), found[1].peer_id.as_str()), ("ra-1-1", "@laptop"));
}

#[test]
fn first_phases_that_stand() {
    let lines = [
        "#1: \"s2s-a-1\":500 ESTABLISHED_IKE_SA (established IKE SA); REKEY in 85000s; newest; idle;",
        "#2: \"s2s-a-1\":500 ESTABLISHED_CHILD_SA (established Child SA); REKEY in 2900s; IKE SA #1; idle;",
        "#3: \"s2s-b-1\":500 STATE_MAIN_I4 (ISAKMP SA established); REPLACE in 85000s; newest; idle;",
        "#12: \"s2s-v1\":500 STATE_MAIN_I1 (sent Main Mode request); RETRANSMIT in 24s; nodpd; idle;",
        "#12: pending IPsec SA for \"s2s-v1\"",
    ];
    assert_eq!(parse_states(&lines), [(1, "s2s-a-1".to_owned()), (3, "s2s-b-1".to_owned())]);
}

#[test]
fn keys_that_were_made() {
    let first = "\"s2s-c-1-1\" #2: initiator established Child SA using #1; IPsec tunnel \
        [10.1.1.0/24===172.16.1.0/24] {ESP/ESN=>0xc6aa3b20 <0x1d2f0f4b xfrm=AES_CBC_256-HMAC_SHA2_256_128 DPD=active}";
    let made = parse_made(first).unwrap();
    assert_eq!((made.name.as_str(), made.group), ("s2s-c-1-1", None));
    assert_eq!(made.algorithms, "AES_CBC_256-HMAC_SHA2_256_128");
    let again = "\"s2s-c-1-1\" #3: rekeyed Child SA #2 {ESP/ESN=>0xc1 <0x2 xfrm=AES_GCM_16_256-NONE-MODP2048 DPD=active}";
    assert_eq!(parse_made(again).unwrap().group.as_deref(), Some("MODP2048"));
    for other in ["\"s2s-c-1-1\" #1: sent IKE_SA_INIT request", "xfrm=", "\"", ""] {
        assert_eq!(parse_made(other), None, "{other}");
    }
}
