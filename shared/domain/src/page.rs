//! Pages of long lists: a limit and an opaque cursor.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fault::Fault;
use crate::stack::is_name;

/// How many items a page has when nobody says.
pub const DEFAULT_LIMIT: u32 = 50;
/// How many items a page has at most.
pub const MAX_LIMIT: u32 = 200;

/// What a caller asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// At most this many items, 1 to [`MAX_LIMIT`].
    pub limit: u32,
    /// Items after this one.
    pub after: Option<uuid::Uuid>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: DEFAULT_LIMIT, after: None }
    }
}

impl PageRequest {
    /// Checks what came from outside.
    pub fn parse(limit: Option<u32>, cursor: Option<&str>) -> Result<Self, Fault> {
        let limit = checked_limit(limit)?;
        let after = cursor.map(|text| decode(text).ok_or_else(no_cursor)).transpose()?;
        Ok(Self { limit, after })
    }

    /// For lists of numbered items, largest first: only those below this number.
    pub fn below(&self) -> Option<i64> {
        self.after.map(|after| i64::try_from(after.as_u128()).unwrap_or(i64::MAX))
    }
}

/// What a caller asks for of a list in the order of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPageRequest {
    /// At most this many items, 1 to [`MAX_LIMIT`].
    pub limit: u32,
    /// Items after the one with this name.
    pub after: Option<String>,
}

impl Default for NamedPageRequest {
    fn default() -> Self {
        Self { limit: DEFAULT_LIMIT, after: None }
    }
}

impl NamedPageRequest {
    /// Checks what came from outside.
    pub fn parse(limit: Option<u32>, cursor: Option<&str>) -> Result<Self, Fault> {
        let limit = checked_limit(limit)?;
        let read =
            |text: &str| String::from_utf8(bytes_of(text)?).ok().filter(|name| is_name(name));
        let after = cursor.map(|text| read(text).ok_or_else(no_cursor)).transpose()?;
        Ok(Self { limit, after })
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Page<T> {
    /// The items, newest first unless the route says otherwise.
    pub items: Vec<T>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Builds a page from up to `limit + 1` rows: the surplus row only tells that there is more.
    pub fn from_surplus(
        mut items: Vec<T>,
        request: PageRequest,
        key: impl Fn(&T) -> uuid::Uuid,
    ) -> Self {
        let limit = request.limit as usize;
        let next_cursor = if items.len() > limit {
            items.truncate(limit);
            items.last().map(|last| encode(key(last)))
        } else {
            None
        };
        Self { items, next_cursor }
    }

    /// The same for numbered items, largest first; see [`PageRequest::below`].
    pub fn of_numbered(items: Vec<T>, request: PageRequest, number: impl Fn(&T) -> i64) -> Self {
        let key = |item: &T| uuid::Uuid::from_u128(u128::from(number(item).unsigned_abs()));
        Self::from_surplus(items, request, key)
    }

    /// The same for items in the order of their names.
    pub fn of_named(
        mut items: Vec<T>,
        request: &NamedPageRequest,
        name: impl Fn(&T) -> &str,
    ) -> Self {
        let limit = request.limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| more);
        let next_cursor = last.map(|last| text_of(name(last).as_bytes()));
        Self { items, next_cursor }
    }

    /// The same page of other things.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next_cursor: self.next_cursor }
    }
}

fn checked_limit(limit: Option<u32>) -> Result<u32, Fault> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) {
        return Ok(limit);
    }
    Err(Fault::field("/limit", format!("limit must be from 1 to {MAX_LIMIT}, not {limit}")))
}

fn no_cursor() -> Fault {
    Fault::field(
        "/cursor",
        "cursor is not one that this API gave out; leave it out for the first page",
    )
}

fn encode(key: uuid::Uuid) -> String {
    text_of(key.as_bytes())
}

fn decode(text: &str) -> Option<uuid::Uuid> {
    uuid::Uuid::from_slice(&bytes_of(text)?).ok()
}

fn text_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_to_the_item_it_came_from() {
        let ids: Vec<_> = (0..4u128).map(uuid::Uuid::from_u128).collect();
        let ask = PageRequest { limit: 3, after: None };
        let page = Page::from_surplus(ids.clone(), ask, |id| *id);
        assert_eq!(page.items, ids[..3]);
        let next = PageRequest::parse(Some(3), page.next_cursor.as_deref()).unwrap();
        assert_eq!(next.after, Some(ids[2]));
        assert_eq!(Page::from_surplus(ids[3..].to_vec(), next, |id| *id).next_cursor, None);
    }

    #[test]
    fn numbered_items_go_on_below_the_last_one() {
        let ask = PageRequest { limit: 2, after: None };
        assert_eq!(ask.below(), None);
        let page = Page::of_numbered(vec![9, 7, 3], ask, |n| *n);
        let next = PageRequest::parse(Some(2), page.next_cursor.as_deref()).unwrap();
        assert_eq!((page.items, next.below()), (vec![9, 7], Some(7)));
        let odd = PageRequest { after: Some(uuid::Uuid::max()), ..ask };
        assert_eq!(odd.below(), Some(i64::MAX));
    }

    #[test]
    fn named_items_go_on_after_the_last_one() {
        let ask = NamedPageRequest { limit: 2, after: None };
        let page = Page::of_named(vec!["a", "b", "c"], &ask, |name| name);
        assert_eq!(page.items, ["a", "b"]);
        let next = NamedPageRequest::parse(Some(2), page.next_cursor.as_deref()).unwrap();
        assert_eq!(next.after.as_deref(), Some("b"));
        assert_eq!(Page::of_named(vec!["c"], &next, |name| name).next_cursor, None);
        // "No name", in base64.
        assert!(NamedPageRequest::parse(None, Some("Tm8gbmFtZQ")).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for (limit, cursor) in [(Some(0), None), (Some(201), None), (None, Some("zzz!"))] {
            assert!(PageRequest::parse(limit, cursor).is_err(), "{limit:?} {cursor:?}");
        }
    }
}
