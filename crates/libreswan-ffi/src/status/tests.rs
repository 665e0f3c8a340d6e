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
