//! Pages of a list, and the cursors that lead from one to the next.
//!
//! A cursor holds the last item of its page, not a number of items to skip: whatever is inserted or deleted meanwhile,
//! no item is shown twice and none is left out. It is opaque to clients so that it can change.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Serialize;

use crate::problem::{Code, Problem};

/// Items of a page, unless the client says otherwise.
pub(crate) const DEFAULT_LIMIT: u32 = 50;
/// Most items of a page.
pub(crate) const MAX_LIMIT: u32 = 200;
/// Longest cursor that is looked at.
pub(crate) const MAX_CURSOR_CHARS: usize = 512;

/// Which page a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Most items in it.
    pub(crate) limit: u32,
    /// The item that it begins after; `None`: the first page.
    pub(crate) after: Option<String>,
}

/// One page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "{T}Page")]
pub(crate) struct Page<T> {
    /// What is on it.
    pub(crate) items: Vec<T>,
    /// Send it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The first `limit` of `items`, which begin after the cursor; `place` names an item within the list `list`.
    pub(crate) fn cut(
        list: &str,
        items: impl IntoIterator<Item = T>,
        limit: u32,
        place: impl Fn(&T) -> String,
    ) -> Self {
        let mut items = items.into_iter();
        let page: Vec<T> = items.by_ref().take(limit as usize).collect();
        let next_cursor = match page.last() {
            Some(last) if items.next().is_some() => Some(encode(list, &place(last))),
            _ => None,
        };
        Self { items: page, next_cursor }
    }
}

/// The cursor after the item at `place` of the list `list`.
fn encode(list: &str, place: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("1:{list}:{place}"))
}

/// The place that a cursor of the list `list` holds.
///
/// # Errors
/// A problem for anything that this list did not hand out.
pub(crate) fn decode(list: &str, cursor: &str) -> Result<String, Problem> {
    let place = || {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let place = text.strip_prefix("1:")?.strip_prefix(list)?.strip_prefix(':')?;
        (!place.is_empty() && place.len() <= MAX_CURSOR_CHARS).then(|| place.to_owned())
    };
    place().ok_or_else(|| {
        let detail =
            "the cursor is not one that this list handed out; leave it away to start at the first page";
        Problem::new(Code::InvalidCursor, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_after(after: Option<&str>, limit: u32) -> Page<u32> {
        let after: u32 = after.map_or(0, |cursor| decode("numbers", cursor).unwrap().parse().unwrap());
        Page::cut("numbers", (1..=7).filter(|number| *number > after), limit, ToString::to_string)
    }

    #[test]
    fn pages_follow_one_another_to_the_end() {
        let (mut cursor, mut seen) = (None::<String>, Vec::new());
        loop {
            let page = page_after(cursor.as_deref(), 3);
            seen.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_last_page_that_is_full_has_no_cursor() {
        assert!(page_after(None, 7).next_cursor.is_none());
        assert!(page_after(None, 6).next_cursor.is_some());
    }

    #[test]
    fn cursors_of_other_lists_and_other_texts_are_refused() {
        let foreign = encode("letters", "b");
        for bad in ["", "MQ", "not base64!", &foreign, &encode("numbers", ""), &encode("numbers:", "1")[1..]]
        {
            assert_eq!(decode("numbers", bad).unwrap_err().code(), Code::InvalidCursor, "{bad}");
        }
    }
}
