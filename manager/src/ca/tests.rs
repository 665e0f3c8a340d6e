//! What the authority's certificates say.

use std::fs;
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
    let open = || Authority::open(&store, Duration::from_hours(1)).map(|ca| ca.certificate());
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

#[test]
fn a_new_authority_stands_beside_the_old_one_until_that_is_given_up() {
    let (folder, authority) = authority();
    let old = authority.fingerprints();
    let issued = authority.appliance(&"r-1".parse().unwrap()).unwrap();
    authority.rotate().unwrap();
    let both = authority.fingerprints();
    assert_eq!((both.len(), &both[1]), (2, &old[0]));
    assert_eq!(authority.clients().unwrap().len(), 2, "one for each that appliances know");
    let (_, block) =
        x509_parser::pem::parse_x509_pem(issued.identity.certificate.as_bytes()).unwrap();
    let issuer = block.parse_x509().unwrap().issuer().as_raw().to_vec();
    assert!(authority.is_older(&issuer));
    // another manager reads the same file
    let other = Authority::open(&folder.path().join("m.db"), Duration::from_hours(1)).unwrap();
    assert_eq!(other.fingerprints(), both);
    authority.retire().unwrap();
    assert_eq!(authority.fingerprints(), both[..1]);
    other.reload().unwrap();
    assert_eq!(other.certificate(), authority.certificate());
    let path = folder.path().join("m.ca.pem");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_without_a_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.ca.pem");
    for text in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"] {
        fs::write(&path, text).unwrap();
        assert!(Authority::at(&path, Duration::from_hours(1)).is_err(), "{text}");
    }
}
