//! Who is let in, who is not, and what a change does.

use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_000;

fn slice(grants: &[Value]) -> ConsoleSlice {
    let slice = json!({ "listen": [], "hosts": ["localhost"], "grants": grants });
    serde_json::from_value(slice).unwrap()
}

fn grant(id: &str) -> Value {
    json!({
        "id": id, "token": TokenHash::of(id).to_string(), "vm": { "id": "vm-1", "name": "web" },
        "backend": { "address": "192.0.2.1", "port": 5900, "unencrypted": "anything" },
        "expires": unix_now() + 600, "source": "any",
    })
}

fn with(id: &str, field: &str, value: Value) -> Value {
    let mut grant = grant(id);
    grant[field] = value;
    grant
}

fn registry(grants: &[Value]) -> Registry {
    let registry = Registry::default();
    registry.apply(&slice(grants));
    registry
}

fn asker(browser: Option<BrowserId>) -> Asker {
    Asker { from: "198.51.100.7".parse().unwrap(), browser, now: NOW }
}

fn id(id: &str) -> ObjectId {
    id.parse().unwrap()
}

fn sit(registry: &Registry, grant: &str) -> Result<Seat, Refusal> {
    registry.sit(&id(grant), asker(Some(BrowserId::new())))
}

#[test]
fn a_token_leads_to_its_grant_and_an_id_needs_a_cookie() {
    let registry = registry(&[grant("g-1"), grant("g-2")]);
    assert_eq!(registry.named_by("g-2"), Ok(id("g-2")));
    assert_eq!(registry.named_by("G-2"), Err(Refusal::Unknown));
    assert_eq!(registry.admit(&id("g-1"), asker(None), None).unwrap_err(), Refusal::NoCookie);
    assert_eq!(registry.sit(&id("g-1"), asker(None)).err(), Some(Refusal::NoCookie));
    assert!(registry.admit(&id("g-1"), asker(None), Some(BrowserId::new())).is_ok());
}

#[test]
fn the_first_browser_keeps_a_grant_for_itself() {
    let registry = registry(&[with("g-1", "source", json!("first-browser"))]);
    let (first, second) = (BrowserId::new(), BrowserId::new());
    let admit = |known, new| registry.admit(&id("g-1"), asker(known), new).map(|(_, it)| it);
    assert_eq!(admit(None, Some(first)), Ok(first));
    assert_eq!(admit(Some(first), Some(second)), Ok(first), "known again, it stays who it is");
    assert_eq!(admit(None, Some(second)), Err(Refusal::OtherBrowser));
    assert_eq!(registry.sit(&id("g-1"), asker(Some(second))).err(), Some(Refusal::OtherBrowser));
    registry.apply(&slice(&[grant("g-2"), with("g-1", "source", json!("first-browser"))]));
    assert_eq!(admit(None, Some(second)), Err(Refusal::OtherBrowser), "a new slice does not unpin");
}

#[test]
fn a_browser_that_found_no_room_is_not_the_first() {
    let mut slice = slice(&[with("g-1", "source", json!("first-browser"))]);
    let registry = Registry::default();
    let admit = |new| registry.admit(&id("g-1"), asker(None), Some(new)).map(|(_, it)| it);
    let (one, other) = (BrowserId::new(), BrowserId::new());
    slice.settings.sessions = 0;
    registry.apply(&slice);
    assert_eq!(admit(one), Err(Refusal::Full));
    slice.settings.draining = true;
    registry.apply(&slice);
    assert_eq!(admit(one), Err(Refusal::Draining));
    (slice.settings.sessions, slice.settings.draining) = (1, false);
    registry.apply(&slice);
    assert_eq!(admit(other), Ok(other));
    assert_eq!(admit(other), Ok(other), "who shows the same again is the same");
    assert_eq!(admit(one), Err(Refusal::OtherBrowser));
}

#[test]
fn a_grant_that_is_at_home_elsewhere_takes_known_browsers_alone() {
    let mut guest = with("g-1", "source", json!("first-browser"));
    guest["home"] = json!("https://console2.example.org");
    let registry = registry(&[guest, with("g-2", "home", json!("https://console2.example.org"))]);
    let (known, new) = (BrowserId::new(), BrowserId::new());
    let admit = |grant, known, new| registry.admit(&id(grant), asker(known), new).map(|(_, it)| it);
    assert_eq!(admit("g-1", None, Some(new)), Err(Refusal::Elsewhere));
    assert_eq!(admit("g-1", Some(known), None), Ok(known));
    assert_eq!(admit("g-1", Some(new), None), Err(Refusal::OtherBrowser));
    assert_eq!(admit("g-2", None, Some(new)), Ok(new), "for any browser, so at any proxy");
    assert_eq!(registry.home(&id("g-1")).unwrap().as_str(), "https://console2.example.org");
}

#[test]
fn a_grant_whose_first_browser_was_taken_elsewhere_takes_no_other() {
    let mut taken = with("g-1", "source", json!("first-browser"));
    taken["taken"] = json!(true);
    let registry = registry(&[taken]);
    let (known, new) = (BrowserId::new(), BrowserId::new());
    let admit = |known, new| registry.admit(&id("g-1"), asker(known), new).map(|(_, it)| it);
    assert_eq!(admit(None, Some(new)), Err(Refusal::OtherBrowser));
    assert_eq!(admit(Some(known), None), Ok(known));
}

#[test]
fn networks_and_time_bound_a_grant() {
    let near = with("g-1", "source", json!({ "networks": ["198.51.100.0/24"] }));
    let far = with("g-2", "source", json!({ "networks": ["203.0.113.0/24"] }));
    let registry = registry(&[near, far, with("g-3", "expires", json!(NOW))]);
    assert!(sit(&registry, "g-1").is_ok());
    assert_eq!(sit(&registry, "g-2").err(), Some(Refusal::Address));
    assert_eq!(sit(&registry, "g-3").err(), Some(Refusal::Expired));
}

#[test]
fn a_grant_taken_away_is_told_so_and_its_sessions_learn_at_once() {
    let registry = registry(&[grant("g-1"), grant("g-2")]);
    let (gone, stays) = (sit(&registry, "g-1").unwrap(), sit(&registry, "g-2").unwrap());
    registry.apply(&slice(&[grant("g-2")]));
    assert!(gone.changes.borrow().is_none());
    assert!(!stays.changes.has_changed().unwrap(), "the other notices nothing");
    assert_eq!(registry.named_by("g-1"), Err(Refusal::Revoked));
    assert_eq!(sit(&registry, "g-1").err(), Some(Refusal::Revoked));
}

#[test]
fn a_changed_grant_reaches_its_sessions_and_another_token_is_another_grant() {
    let registry = registry(&[grant("g-1")]);
    let seat = sit(&registry, "g-1").unwrap();
    registry.apply(&slice(&[with("g-1", "view_only", json!(true))]));
    assert!(seat.changes.borrow().as_ref().unwrap().view_only);
    registry.apply(&slice(&[with("g-1", "token", json!(TokenHash::of("new").to_string()))]));
    assert!(seat.changes.borrow().is_none(), "the link it was opened by is gone");
    assert_eq!(registry.named_by("g-1"), Err(Refusal::Revoked));
    assert_eq!(registry.named_by("new"), Ok(id("g-1")));
}

#[test]
fn places_are_bounded_and_free_again() {
    let mut slice = slice(&[with("g-1", "limits", json!({ "sessions": 1 })), grant("g-2")]);
    slice.settings.sessions = 2;
    let registry = Registry::default();
    registry.apply(&slice);
    let first = sit(&registry, "g-1").unwrap();
    assert_eq!(sit(&registry, "g-1").err(), Some(Refusal::GrantFull));
    let room = |registry: &Registry| {
        registry.admit(&id("g-1"), asker(None), Some(BrowserId::new())).map(drop)
    };
    assert_eq!(room(&registry), Err(Refusal::GrantFull));
    let _second = sit(&registry, "g-2").unwrap();
    assert_eq!(sit(&registry, "g-2").err(), Some(Refusal::Full));
    drop(first);
    assert_eq!(room(&registry), Ok(()));
    assert_eq!(registry.running().len(), 1);
    assert_eq!(registry.closed().len(), 1);
    slice.settings.draining = true;
    registry.apply(&slice);
    assert_eq!(sit(&registry, "g-1").err(), Some(Refusal::Draining));
    assert_eq!(room(&registry), Err(Refusal::Draining));
    assert_eq!(registry.running().len(), 1, "who is there stays");
}

#[test]
fn the_process_after_this_one_knows_the_first_browser_and_what_was_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let pinned = slice(&[with("g-1", "source", json!("first-browser")), grant("g-2")]);
    let (first, second) = (BrowserId::new(), BrowserId::new());
    let admit = |registry: &Registry, known, new| {
        registry.admit(&id("g-1"), asker(known), new).map(|(_, it)| it)
    };
    let registry = Registry::new(Some(folder.path()));
    registry.apply(&pinned);
    assert_eq!(admit(&registry, None, Some(first)), Ok(first));
    registry.apply(&slice(&[with("g-1", "source", json!("first-browser"))]));

    let next = Registry::new(Some(folder.path()));
    next.apply(&slice(&[with("g-1", "source", json!("first-browser"))]));
    assert_eq!(admit(&next, None, Some(second)), Err(Refusal::OtherBrowser));
    assert_eq!(admit(&next, Some(first), None), Ok(first));
    assert_eq!(next.named_by("g-2"), Err(Refusal::Revoked));
}
