//! What the authority's certificates say.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn authority() -> (tempfile::TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let authority =
        Authority::open(&folder.path().join("m.db"), Duration::from_hours(24 * 7)).unwrap();
    (folder, authority)
}

#[test]
fn the_key_is_private_and_made_once() {
    let (folder, first) = authority();
    let path = folder.path().join("m.ca.pem");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = Authority::open(&folder.path().join("m.db"), Duration::from_hours(1)).unwrap();
    assert_eq!(first.certificate(), again.certificate());
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["m.ca.pem"]);
}

#[test]
fn parallel_starts_agree() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("m.db");
    let open =
        || Authority::open(&store, Duration::from_hours(1)).map(|ca| ca.certificate().to_owned());
    let all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for certificate in &all {
        assert_eq!(certificate.as_ref().unwrap(), all[0].as_ref().unwrap());
    }
}

#[test]
fn a_certificate_ends_when_it_is_said_to() {
    let (_folder, authority) = authority();
    let issued = authority.appliance(&"r-1".parse().unwrap()).unwrap();
    let left = issued.until - OffsetDateTime::now_utc().unix_timestamp();
    let week = 7 * 24 * 3600;
    assert!((week - 60..=week).contains(&left), "{left}");
    assert!(issued.identity.key.reveal().contains("PRIVATE KEY"));
}
