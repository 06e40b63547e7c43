//! One list says what holds data: the house's.

use std::collections::BTreeSet;

#[test]
fn the_pack_has_the_houses_list_of_what_holds_data() {
    let text = include_str!("../../packs/terraform/change.rego");
    let (_, rest) = text.split_once("\nstateful := {\n").expect("the set is there");
    let (set, _) = rest.split_once("\n}").expect("and ends");
    let pack: BTreeSet<&str> =
        set.split(',').map(|t| t.trim().trim_matches('"')).filter(|t| !t.is_empty()).collect();
    let house: BTreeSet<&str> =
        slipway_domain::approval::stateful_types().iter().copied().collect();
    let only = |a: &BTreeSet<&str>, b: &BTreeSet<&str>| {
        a.difference(b).map(|t| (*t).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (only(&pack, &house), only(&house, &pack)),
        (vec![], vec![]),
        "pack only, house only"
    );
}
