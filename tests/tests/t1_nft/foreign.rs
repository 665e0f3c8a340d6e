//! Edits of other hands to our table.

use std::collections::BTreeMap;

use sluice_sys::nft;

use crate::everything::everything;
use crate::world::{World, ours, program};

#[test]
fn foreign_edits_of_ours_show_and_are_undone_and_foreign_tables_stay() {
    let world = World::new("foreign");
    let table = everything();
    world.reach(&table);
    for edit in [
        "add rule inet sluice every-match counter drop",
        "insert rule inet sluice every-match counter drop",
        "flush chain inet sluice nat-out",
        "delete element inet sluice guest-links { \"guest0\" }",
        "add element inet sluice guest-links { \"we ird; \" }",
        "delete element inet sluice v4-nets { 10.0.0.0/8 }\nadd element inet sluice v4-nets { 10.0.0.0/9 }",
        "delete element inet sluice static-in { 192.0.2.1 }\nadd element inet sluice static-in { 192.0.2.1 : 10.1.1.3 }",
        "add chain inet sluice extra-1 { type filter hook input priority 5; policy drop; }",
        "add counter inet sluice spy-1",
        "add quota inet sluice spy-2 { over 5 mbytes }",
        "add set inet sluice spy-3 { type ipv4_addr; timeout 5s; }",
        "add table inet foreign\nadd chain inet foreign x",
        "delete table inet sluice",
        "delete table inet sluice\nadd table inet sluice\nadd chain inet sluice every-match { type filter hook input priority 7; }",
    ] {
        world.load(edit);
        let desired = BTreeMap::from([(ours(), table.clone())]);
        let foreign = edit.contains("foreign");
        assert_eq!(nft::diff(&world.observe(), &desired).is_empty(), foreign, "{edit}");
        world.reach(&table);
    }
    let all = world.ns.command([program().as_str(), "list", "tables"]).check().unwrap();
    assert!(all.contains("inet foreign"), "{all}");
}
