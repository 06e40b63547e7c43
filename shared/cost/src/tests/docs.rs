//! `docs/COST.md` lists the types that the code knows.

use std::fmt::Write as _;

use crate::{free_types, priced_types};

#[test]
fn the_page_lists_the_types() {
    let mut text = String::from("| type | what of it is priced |\n| --- | --- |\n");
    for priced in priced_types() {
        let _ = writeln!(text, "| `{}` | {} |", priced.name, priced.what);
    }
    let free: Vec<_> = free_types().iter().map(|name| format!("`{name}`")).collect();
    let _ = writeln!(text, "\nCost nothing by themselves, and are counted: {}.", free.join(", "));

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/COST.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- generated: types -->\n", "<!-- end of types -->");
    let (head, rest) = page.split_once(begin).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    let should = format!("{head}{begin}\n{text}\n{end}{tail}");
    if std::env::var_os("SLIPWAY_TEST_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, &should).unwrap();
        return;
    }
    assert_eq!(page, should, "refresh it with SLIPWAY_TEST_UPDATE_SNAPSHOTS=1");
}
