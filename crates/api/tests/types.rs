//! The newtypes: what they take, what they refuse, and that no input makes them panic.

#![allow(clippy::unwrap_used)] // a test may fail loudly anywhere, its helpers included

use proptest::prelude::*;
use sluice_api::types::{
    Cidr, CookieDomain, DomainName, HostName, InterfaceAddress, LinkName, MacAddr, ObjectId,
    Secret, VlanId,
};
use sluice_api::{RouterDocument, boot::BootDocument};

#[test]
fn mac_addresses_print_in_lower_case() {
    let mac: MacAddr = "02:00:0A:FF:01:17".parse().unwrap();
    assert_eq!(mac.to_string(), "02:00:0a:ff:01:17");
    assert_eq!(MacAddr::from_bytes(mac.bytes()), Some(mac));
    assert_eq!(MacAddr::from_bytes([0; 6]), None);
}

#[test]
fn slash_31_has_two_hosts_and_slash_24_has_254() {
    let narrow: Cidr = "192.0.2.0/31".parse().unwrap();
    let wide: Cidr = "192.0.2.0/24".parse().unwrap();
    let hosts = |cidr: &Cidr| {
        (0..=255_u8).filter(|last| cidr.usable_for_host([192, 0, 2, *last].into())).count()
    };
    assert_eq!((hosts(&narrow), hosts(&wide)), (2, 254));
}

#[test]
fn networks_of_two_families_never_overlap() {
    let v4: Cidr = "0.0.0.0/0".parse().unwrap();
    let v6: Cidr = "::/0".parse().unwrap();
    assert!(!v4.overlaps(&v6));
    assert!(v4.overlaps(&"10.0.0.0/8".parse().unwrap()));
}

#[test]
fn secrets_do_not_print() {
    assert_eq!(format!("{:?}", Secret::new("hunter2")), "(hidden)");
}

proptest! {
    #[test]
    fn text_values_never_panic_and_print_what_they_parse(text in "\\PC{0,80}") {
        fn same<T: std::str::FromStr + ToString + PartialEq + std::fmt::Debug>(text: &str)
        where T::Err: std::fmt::Debug {
            if let Ok(value) = text.parse::<T>() {
                assert_eq!(value.to_string().parse::<T>().unwrap(), value);
            }
        }
        same::<MacAddr>(&text);
        same::<HostName>(&text);
        same::<CookieDomain>(&text);
        same::<DomainName>(&text);
        same::<ObjectId>(&text);
        same::<LinkName>(&text);
        same::<Cidr>(&text);
        same::<InterfaceAddress>(&text);
        same::<VlanId>(&text);
    }

    #[test]
    fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(RouterDocument::decode(&bytes).is_err());
        prop_assert!(BootDocument::decode(&bytes).is_err());
    }

    #[test]
    fn a_damaged_example_never_panics(at in 0_usize..3000, byte in any::<u8>()) {
        let mut bytes = include_bytes!("../../../examples/router.json").to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Err(findings) = RouterDocument::decode(&bytes) {
            prop_assert!(!findings.is_empty());
        }
    }
}
