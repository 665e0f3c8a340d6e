//! What is looked through for an address that somebody else could have.

#![allow(clippy::unwrap_used)]

use super::*;

const NOW: Duration = Duration::from_secs(1000);

/// Client number `number`.
fn mac(number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    format!("02:01:{a:02x}:{b:02x}:{c:02x}:{d:02x}").parse().unwrap()
}

#[test]
fn who_comes_to_a_full_range_does_not_come_upon_what_is_over_in_the_others() {
    let example = include_str!("../../../../examples/router.json");
    let mut narrow = crate::dhcp::slice(&serde_json::from_str(example).unwrap()).networks.remove(0);
    let mut wide = narrow.clone();
    narrow.pools = vec!["10.1.1.100-10.1.1.101".parse().unwrap()];
    (wide.cidr, wide.gateway) = ("10.9.0.0/16".parse().unwrap(), Ipv4Addr::new(10, 9, 0, 1));
    wide.pools = vec!["10.9.1.0-10.9.4.231".parse().unwrap()];
    let link: LinkName = "guest0".parse().unwrap();
    let all = Pools::of(&[&narrow, &wide]).unwrap();
    let narrow = Pools::of(&[&narrow]).unwrap();

    let first = u32::from(Ipv4Addr::new(10, 9, 1, 0));
    let mut lent = Lent::default();
    lent.restore((0..1000).map(|number| {
        let until = Duration::from_millis(u64::from(1001 - number));
        Change { link: link.clone(), mac: mac(number), address: (first + number).into(), until }
    }));
    lent.retain(|_| Some(&all));
    for number in [2001, 2002] {
        let choice = lent.offer(NOW, &link, &narrow, mac(number), None).unwrap();
        lent.lend(NOW, &link, mac(number), choice, LeaseSeconds::MIN, true);
    }
    assert_eq!(lent.offer(NOW, &link, &narrow, mac(2003), None), None, "it is full");

    let of_link = &lent.links[&link];
    let looked_at = |pools: &Pools| {
        pools.ranges().map(|range| of_link.replaceable(NOW, range).count()).collect::<Vec<_>>()
    };
    assert_eq!(looked_at(&narrow), [0], "the thousand are of the other range");
    assert_eq!(looked_at(&all), [0, 1000]);
    // without a relay it is given what has been over for longest, of whichever range
    let choice = lent.offer(NOW, &link, &all, mac(2003), None).unwrap();
    assert_eq!(u32::from(choice.address), first + 999);
    // and when a lease of its range is over, that one
    let later = NOW + Duration::from_secs(61);
    let choice = lent.offer(later, &link, &narrow, mac(2004), None).unwrap();
    assert!(narrow.lends(choice.address));
}
