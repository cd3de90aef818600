//! A listing that is read page by page: whole, or not at all.
//!
//! Pages are cut anew for each request, so an instance that is made or released between two of them moves others across the cut. A list that
//! may lack one would retire it; so a list counts only when the pages agree with each other.

use super::Found;
use crate::fault::{Fault, Kind};
use std::collections::BTreeMap;

/// The most pages that one listing may have.
const PAGES_LIMIT: usize = 200;

/// The longest name of an instance that is kept, in characters.
const NAME_LIMIT: usize = 128;

/// What the pages brought so far.
pub(super) struct Pages {
    /// Vendor and action, for faults.
    call: &'static str,
    found: BTreeMap<String, Found>,
    total: Option<usize>,
    read: usize,
}

impl Pages {
    pub(super) fn of(call: &'static str) -> Self {
        Self { call, found: BTreeMap::new(), total: None, read: 0 }
    }

    /// How many pages were taken in.
    pub(super) fn read(&self) -> usize {
        self.read
    }

    /// Takes in a page; `total` is how many instances the cloud says there are on all of them. Whether that was the last one.
    ///
    /// # Errors
    /// `Unanswered` where it does not fit the pages before it, `Unsupported` where there are too many.
    pub(super) fn take(&mut self, page: Vec<Found>, total: usize) -> Result<bool, Fault> {
        self.read += 1;
        let torn = || {
            Fault::new(Kind::Unanswered, format!("{}: the list changed while its pages were read", self.call))
                .advise("nothing; the list is read again")
        };
        if self.total.is_some_and(|before| before != total) {
            return Err(torn());
        }
        self.total = Some(total);
        let count = self.found.len() + page.len();
        let empty = page.is_empty();
        self.found.extend(page.into_iter().map(|found| (found.instance.clone(), found)));
        if self.found.len() != count || count > total || (empty && count < total) {
            return Err(torn());
        }
        if count < total && self.read >= PAGES_LIMIT {
            let what = format!("{}: {total} instances are more than {PAGES_LIMIT} pages hold", self.call);
            return Err(Fault::new(Kind::Unsupported, what).advise("select by further tags, in several selections"));
        }
        Ok(count == total)
    }

    /// Those that carry all of the tags, whatever the cloud took for a match.
    ///
    /// # Errors
    /// `Unanswered` where an instance was found by its tags and shown without any: then nobody can say which of the others carry them.
    pub(super) fn carrying(self, tags: &BTreeMap<String, String>) -> Result<Vec<Found>, Fault> {
        if let Some(bare) = self.found.values().find(|found| found.tags.is_empty()) {
            let what = format!("{} found {} by its tags and shows none", self.call, bare.instance);
            return Err(Fault::new(Kind::Unanswered, what)
                .advise("see whether this identity may read tags; until then the list stays as it was"));
        }
        let carries = |found: &Found| tags.iter().all(|(key, value)| found.tags.get(key) == Some(value));
        Ok(self.found.into_values().filter(carries).collect())
    }
}

/// The name an owner gave, safe to show.
pub(super) fn shown_name(name: &str) -> String {
    crate::fault::scrub(name, &[]).chars().take(NAME_LIMIT).collect()
}

/// A fault of the listing, which needs a permission on all instances and not on single ones.
pub(super) fn advised(fault: Fault, permission: &str) -> Fault {
    if fault.kind != Kind::Denied {
        return fault;
    }
    fault.advise(format!("grant {permission} on all instances to this identity; until then the list stays as it was"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(instance: &str, tags: &[(&str, &str)]) -> Found {
        Found {
            instance: instance.to_owned(),
            name: String::new(),
            endpoint: None,
            tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            unfit: None,
        }
    }

    /// Pages as they come: instances and total. The instances of the whole list, or nothing where it is torn.
    fn read(pages: &[(&[&str], usize)]) -> Option<Vec<String>> {
        let mut all = Pages::of("Test");
        for (page, total) in pages {
            if all.take(page.iter().map(|id| found(id, &[("rotate", "weekly")])).collect(), *total).ok()? {
                return Some(all.carrying(&BTreeMap::new()).ok()?.into_iter().map(|found| found.instance).collect());
            }
        }
        None
    }

    #[test]
    fn a_list_is_whole_or_not_at_all() {
        let whole = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect());
        for (pages, expected) in [
            (&[(&[][..], 0)][..], whole(&[])),
            (&[(&["b", "a"], 2)], whole(&["a", "b"])),
            (&[(&["a", "b"], 3), (&["c"], 3)], whole(&["a", "b", "c"])),
            // One was released between the pages, and another one hid behind the cut.
            (&[(&["a", "b"], 4), (&["d"], 3)], None),
            // One was made before the cut: the last of the first page comes again.
            (&[(&["a", "b"], 3), (&["b", "c"], 4)], None),
            (&[(&["a", "b"], 3), (&["b"], 3)], None),
            (&[(&["a", "b"], 3), (&[], 3)], None),
            (&[(&["a", "b"], 1)], None),
            (&[(&["a", "a"], 2)], None),
        ] {
            assert_eq!(read(pages), expected, "{pages:?}");
        }
    }

    #[test]
    fn pages_end() {
        let mut pages = Pages::of("Test");
        let ended = (0..=PAGES_LIMIT).find_map(|page| pages.take(vec![found(&format!("i{page}"), &[])], 10_000).err());
        assert_eq!(ended.map(|fault| fault.kind), Some(Kind::Unsupported));
    }

    #[test]
    fn every_tag_must_match() {
        let wanted: BTreeMap<String, String> =
            [("rotate", "weekly"), ("team", "orders")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let rows = [
            ("both", &[("rotate", "weekly"), ("team", "orders"), ("more", "")][..], true),
            ("one", &[("rotate", "weekly")], false),
            ("other", &[("rotate", "daily"), ("team", "orders")], false),
        ];
        let mut pages = Pages::of("Test");
        let page = rows.iter().map(|(id, tags, _)| found(id, tags)).collect();
        assert!(pages.take(page, rows.len()).unwrap());
        let carrying: Vec<String> = pages.carrying(&wanted).unwrap().into_iter().map(|found| found.instance).collect();
        let expected: Vec<&str> = rows.iter().filter(|(.., carries)| *carries).map(|(id, ..)| *id).collect();
        assert_eq!(carrying, expected);
    }

    #[test]
    fn what_was_found_by_its_tags_shows_some() {
        let mut pages = Pages::of("Test");
        assert!(pages.take(vec![found("a", &[("rotate", "weekly")]), found("b", &[])], 2).unwrap());
        let torn = pages.carrying(&[("rotate".to_owned(), "weekly".to_owned())].into()).unwrap_err();
        assert_eq!(torn.kind, Kind::Unanswered, "a listing without tags would retire everybody");
    }
}
