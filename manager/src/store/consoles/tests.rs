//! What a proxy reports becomes one row for each session, whatever happens to the proxy.

use serde_json::{Value, json};

use super::{ConsoleSession, Report, Which, load, note, purge, sessions, used};
use crate::store::{Conn, Store};

const NOW: i64 = 1_800_000_000_000;

fn session(id: u64, more: &Value) -> Value {
    let mut session = json!({
        "id": id, "grant": "gr-1", "vm": "vm-7", "user": "alice", "from": "192.0.2.9", "since": 1_799_999_000,
        "view_only": false, "to_browser": 100, "from_browser": 5, "round_trip_ms": 3,
    });
    for (field, value) in more.as_object().unwrap() {
        session[field] = value.clone();
    }
    session
}

fn report(running: &[Value], closed: &[Value], bytes: u64) -> Report {
    let load =
        json!({ "sessions": running.len(), "most": 500, "screen_bytes": bytes, "grants": 1 });
    let report = json!({ "sessions": running, "more": 0, "closed": closed, "load": load });
    serde_json::from_value(report).unwrap()
}

async fn all(conn: &mut Conn) -> Vec<ConsoleSession> {
    sessions(conn, &Which::default()).await.unwrap()
}

#[tokio::test]
async fn a_session_is_one_row_from_its_begin_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("m.db").into()).await.unwrap();
    let mut conn = store.begin().await.unwrap();
    let running = session(1, &json!({}));
    note(&mut conn, "p-1", &report(std::slice::from_ref(&running), &[], 100), NOW).await.unwrap();
    let found = all(&mut conn).await;
    assert_eq!((found.len(), found[0].until.as_deref(), found[0].from_browser), (1, None, 5));

    let end = json!({ "until": 1_799_999_900, "reason": "revoked", "to_browser": 900, "view_only": true });
    let closed = session(1, &end);
    for _again in 0..2 {
        let report = report(&[], std::slice::from_ref(&closed), 900);
        note(&mut conn, "p-1", &report, NOW + 5000).await.unwrap();
    }
    let found = all(&mut conn).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].reason.as_deref(), found[0].to_browser), (Some("revoked"), 900));
    assert!(found[0].view_only && found[0].until.is_some());
    assert!(used(&mut conn, "gr-1").await.unwrap() && !used(&mut conn, "gr-2").await.unwrap());
    // an old look that comes late does not open it again
    note(&mut conn, "p-1", &report(&[running], &[], 900), NOW + 6000).await.unwrap();
    assert!(all(&mut conn).await[0].until.is_some());
}

#[tokio::test]
async fn sessions_of_a_proxy_that_was_started_anew_are_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("m.db").into()).await.unwrap();
    let mut conn = store.begin().await.unwrap();
    let other = session(9, &json!({ "vm": "vm-8", "user": "bob" }));
    note(&mut conn, "p-2", &report(&[other], &[], 0), NOW).await.unwrap();
    note(&mut conn, "p-1", &report(&[session(1, &json!({}))], &[], 0), NOW).await.unwrap();
    let anew = session(1, &json!({ "since": 1_800_000_001 }));
    note(&mut conn, "p-1", &report(&[anew], &[], 0), NOW + 2000).await.unwrap();
    let open = Which { open: true, ..Which::default() };
    let running = sessions(&mut conn, &open).await.unwrap();
    let who: Vec<_> = running.iter().map(|it| (it.appliance.as_str(), it.number)).collect();
    assert_eq!(who, [("p-1", 1), ("p-2", 9)], "the other proxy's are its own business");
    let lost = all(&mut conn).await.into_iter().find(|it| it.until.is_some()).unwrap();
    assert_eq!(lost.reason.as_deref(), Some("lost"));

    let of = |screen: Option<&str>, user: Option<&str>| Which {
        screen: screen.map(str::to_owned),
        user: user.map(str::to_owned),
        open: false,
    };
    let count = async |conn: &mut Conn, which: Which| sessions(conn, &which).await.unwrap().len();
    assert_eq!(count(&mut conn, of(Some("vm-8"), None)).await, 1);
    assert_eq!(count(&mut conn, of(None, Some("alice"))).await, 2);
    assert_eq!(count(&mut conn, of(Some("vm-8"), Some("alice"))).await, 0);
    purge(&mut conn, NOW / 1000 + 3 + super::KEPT).await.unwrap();
    assert_eq!(all(&mut conn).await.len(), 2, "those that run stay");
}

#[tokio::test]
async fn the_load_of_a_proxy_that_there_is_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("m.db").into()).await.unwrap();
    let mut conn = store.begin().await.unwrap();
    note(&mut conn, "p-1", &report(&[], &[], 0), NOW).await.unwrap();
    assert_eq!(load(&mut conn, "p-1").await.unwrap(), None, "there is no such appliance");
}
