//! What a whole listing makes of what is known: the one place that decides who is retired.
//!
//! A listing that failed or is not whole never comes here. One that lacks something may be whole and wrong all the same (a permission that
//! narrows it, a tag renamed by mistake, an index of the cloud's that is behind), so another one has to confirm it; and one that lacks much, time.

use crate::ledger::known::{Known, Missing, Retired};
use crate::moment::Moment;
use crate::provider::Found;
use std::collections::BTreeMap;
use std::time::Duration;

/// From this many instances on, more than half of those known, a sudden absence has to last before it is believed.
pub const MANY: usize = 3;

/// Whole listings in a row that must lack an instance.
pub const LISTINGS: u32 = 2;

/// Whole listings in a row that must lack an instance of many.
pub const CONFIRMATIONS: u32 = 4;

/// How long they must have lacked one of many.
pub const GRACE: Duration = Duration::from_secs(3_600);

/// Why an instance that is no longer listed is not rotated.
const ABSENT: &str = "the cloud lists it no longer with these tags";

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    /// Where: an instance's id names one instance there.
    pub place: String,
    /// The tags an instance must carry, all of them.
    pub tags: BTreeMap<String, String>,
}

/// What a listing made of the list before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The new list.
    pub list: Vec<Known>,
    /// What is new in it.
    pub news: Vec<News>,
    /// Instances that carry the tags, were never known, and cannot rotate: id and why.
    pub unfit: Vec<(String, String)>,
}

/// One thing that a listing changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// An instance was found for the first time.
    Appeared {
        /// Its id.
        instance: String,
    },
    /// One that was retired is there again.
    Returned {
        /// Its id.
        instance: String,
    },
    /// One is no longer rotated.
    Retired {
        /// Its id.
        instance: String,
        /// Why.
        why: String,
    },
    /// One is missing, and is retired if the next listing lacks it too.
    Missing {
        /// Its id.
        instance: String,
    },
    /// So many are missing that they are not retired yet.
    ManyMissing {
        /// How many are missing.
        missing: usize,
        /// How many were known.
        of: usize,
    },
}

/// The list after a whole listing.
pub fn merge(sought: &Sought, known: &[Known], found: Vec<Found>, now: Moment) -> Merged {
    let mut listed: BTreeMap<String, Found> = found.into_iter().map(|found| (found.instance.clone(), found)).collect();
    let fit = |listed: &BTreeMap<String, Found>, instance: &str| {
        listed.get(instance).is_some_and(|found| found.unfit.is_none())
    };
    // What an earlier configuration looked for is no loss when it is not found.
    let ours = |known: &Known| known.is_sought(&sought.place, &sought.tags);
    let live = known.iter().filter(|known| known.retired.is_none() && ours(known));
    let of = live.clone().count();
    let missing = live.filter(|known| !fit(&listed, &known.instance)).count();
    let many = missing >= MANY && missing * 2 > of;
    let (mut list, mut news, mut waiting) = (Vec::with_capacity(known.len()), Vec::new(), 0);
    for known in known {
        let there = listed.remove(&known.instance);
        match there {
            Some(found) if found.unfit.is_none() => {
                if known.retired.is_some() {
                    news.push(News::Returned { instance: found.instance.clone() });
                }
                list.push(as_known(found, &sought.place, Some(known), now));
            }
            there => {
                let unfit = there.and_then(|found| found.unfit);
                let among_many = many || known.missing.is_some_and(|missing| missing.among_many);
                let confirmation = match (ours(known), among_many, &unfit) {
                    (false, _, _) => Confirmation::None,
                    (true, true, _) => Confirmation::Time,
                    (true, false, None) => Confirmation::Listing,
                    // The cloud says why.
                    (true, false, Some(_)) => Confirmation::None,
                };
                let known = absent(known, unfit.unwrap_or_else(|| ABSENT.to_owned()), confirmation, now);
                match (&known.retired, &known.missing) {
                    (Some(retired), _) if retired.since == now => {
                        news.push(News::Retired { instance: known.instance.clone(), why: retired.why.clone() });
                    }
                    (None, Some(missing)) if !missing.among_many => {
                        news.push(News::Missing { instance: known.instance.clone() });
                    }
                    (Some(_), _) => {}
                    (None, _) => waiting += 1,
                }
                list.push(known);
            }
        }
    }
    let (new, unfit): (Vec<Found>, Vec<Found>) = listed.into_values().partition(|found| found.unfit.is_none());
    for found in new {
        news.push(News::Appeared { instance: found.instance.clone() });
        list.push(as_known(found, &sought.place, None, now));
    }
    if waiting > 0 {
        news.push(News::ManyMissing { missing: waiting, of });
    }
    let unfit = unfit.into_iter().map(|found| (found.instance, found.unfit.unwrap_or_default())).collect();
    Merged { list, news, unfit }
}

/// An instance may have no address for a while (it is being moved); the last one counts until there is another.
fn as_known(found: Found, place: &str, before: Option<&Known>, now: Moment) -> Known {
    let Found { instance, name, endpoint, tags, unfit: _ } = found;
    let endpoint = endpoint.or_else(|| before.and_then(|known| known.endpoint.clone()));
    let target = before.and_then(|known| known.target.clone());
    let since = before.map_or(now, |known| known.since);
    Known { instance, place: place.to_owned(), name, endpoint, tags, target, since, missing: None, retired: None }
}

/// What has to confirm that an instance is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Confirmation {
    /// Nothing.
    None,
    /// The next listing.
    Listing,
    /// Several, over some time.
    Time,
}

/// One that the listing lacks. What went missing among many needs the same confirmation when fewer are missing later.
fn absent(known: &Known, why: String, confirmation: Confirmation, now: Moment) -> Known {
    let mut known = known.clone();
    if known.retired.is_some() {
        return known;
    }
    let before = known.missing;
    let missing = Missing {
        since: before.map_or(now, |missing| missing.since),
        times: before.map_or(0, |missing| missing.times).saturating_add(1),
        among_many: confirmation == Confirmation::Time,
    };
    let confirmed = match confirmation {
        Confirmation::None => true,
        Confirmation::Listing => missing.times >= LISTINGS,
        Confirmation::Time => missing.times >= CONFIRMATIONS && now.since(missing.since) >= GRACE,
    };
    if confirmed {
        known.missing = None;
        known.retired = Some(Retired { since: now, why });
    } else {
        known.missing = Some(missing);
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(rotate: &str) -> BTreeMap<String, String> {
        [("rotate".to_owned(), rotate.to_owned())].into()
    }

    fn search() -> Sought {
        Sought { place: "here".to_owned(), tags: tags("weekly") }
    }

    fn found(instance: &str) -> Found {
        Found {
            instance: instance.to_owned(),
            name: format!("name of {instance}"),
            endpoint: None,
            tags: tags("weekly"),
            unfit: None,
        }
    }

    fn at(minute: i64) -> Moment {
        Moment::from_seconds(minute * 60)
    }

    /// One listing after the other, each at its minute; the words after each.
    fn story(listings: &[(i64, &[&str])]) -> Vec<String> {
        let mut list = Vec::new();
        let tell = |(minute, ids): &(i64, &[&str])| {
            let merged = merge(&search(), &list, ids.iter().map(|id| found(id)).collect(), at(*minute));
            list = merged.list;
            let words = merged.news.iter().map(|news| match news {
                News::Appeared { instance } => format!("+{instance}"),
                News::Returned { instance } => format!("={instance}"),
                News::Retired { instance, .. } => format!("-{instance}"),
                News::Missing { instance } => format!("?{instance}"),
                News::ManyMissing { missing, of } => format!("?{missing}/{of}"),
            });
            words.collect::<Vec<_>>().join(" ")
        };
        listings.iter().map(tell).collect()
    }

    #[test]
    fn instances_come_go_and_come_back() {
        assert_eq!(
            story(&[
                (0, &["a", "b"]),
                (1, &["a", "b"]),
                (2, &["b"]),
                (3, &["b"]),
                (4, &["b"]),
                (5, &["c", "b", "a"]),
                // Two of three are not many, however suddenly they go.
                (6, &["a"]),
                (7, &["a"]),
                (8, &[]),
                (9, &[]),
            ]),
            ["+a +b", "", "?a", "-a", "", "=a +c", "?b ?c", "-b -c", "?a", "-a"]
        );
    }

    #[test]
    fn one_listing_retires_nobody_however_few_there_are() {
        assert_eq!(story(&[(0, &["a"]), (1, &[]), (2, &["a"]), (3, &[]), (4, &["a"])]), ["+a", "?a", "", "?a", ""]);
        assert_eq!(story(&[(0, &["a", "b"]), (1, &[]), (2, &["b"]), (3, &[])]), ["+a +b", "?a ?b", "-a", "?b"]);
    }

    #[test]
    fn a_sudden_absence_of_many_has_to_last() {
        let all: &[&str] = &["a", "b", "c", "d", "e"];
        // More than half, at least three: four listings and an hour.
        assert_eq!(
            story(&[
                (0, all),
                (15, &["a", "b"]),
                (30, &["a", "b"]),
                (45, &["a", "b"]),
                (60, &["a", "b"]),
                (75, &["a"])
            ]),
            ["+a +b +c +d +e", "?3/5", "?3/5", "?3/5", "?3/5", "-c -d -e ?1/5"]
        );
        // Often but not long, and long but not often.
        assert_eq!(
            story(&[(0, all), (1, &[]), (2, &[]), (3, &[]), (4, &[]), (5, &[]), (61, &[])]),
            ["+a +b +c +d +e", "?5/5", "?5/5", "?5/5", "?5/5", "?5/5", "-a -b -c -d -e"]
        );
        assert_eq!(story(&[(0, all), (1, &[]), (500, &[])]), ["+a +b +c +d +e", "?5/5", "?5/5"]);
        // It was a mistake, wholly or in part; a part of it still has to last.
        assert_eq!(
            story(&[(0, all), (1, &[]), (2, all), (3, &[]), (4, &["a", "b", "c"]), (5, all), (6, &["a", "b", "c"])]),
            ["+a +b +c +d +e", "?5/5", "", "?5/5", "?2/5", "", "?d ?e"]
        );
    }

    #[test]
    fn a_known_instance_that_cannot_rotate_any_more_is_retired_and_an_unknown_one_only_told() {
        let mut isolated = found("a");
        isolated.unfit = Some("the instance is isolated".to_owned());
        let first = merge(&search(), &[], vec![isolated.clone(), found("b")], at(0));
        assert_eq!(first.unfit, [("a".to_owned(), "the instance is isolated".to_owned())]);
        assert_eq!(first.list.len(), 1);
        let known = merge(&search(), &[], vec![found("a")], at(0)).list;
        let merged = merge(&search(), &known, vec![isolated], at(1));
        let why = "the instance is isolated".to_owned();
        assert_eq!(merged.news, [News::Retired { instance: "a".to_owned(), why: why.clone() }]);
        assert_eq!(merged.list[0].retired, Some(Retired { since: at(1), why }));
        assert_eq!(merged.unfit, []);
    }

    #[test]
    fn what_the_cloud_says_anew_is_taken_over_and_the_first_time_stays() {
        let mut known = merge(&search(), &[], vec![found("a")], at(0)).list;
        known[0].target = "a-target".parse().ok();
        let renamed = Found { name: "new".to_owned(), endpoint: Some(("h".to_owned(), 1)), ..found("a") };
        let merged = merge(&search(), &known, vec![renamed], at(9));
        assert_eq!((merged.list[0].name.as_str(), merged.list[0].since), ("new", at(0)));
        assert_eq!(merged.list[0].endpoint, Some(("h".to_owned(), 1)));
        assert_eq!(merged.news, []);
        assert_eq!((&merged.list[0].target, merged.list[0].target.is_some()), (&known[0].target, true));
        let gone = merge(&search(), &merged.list, vec![], at(10)).list;
        let gone = merge(&search(), &gone, vec![], at(11)).list;
        assert!(gone[0].retired.is_some() && gone[0].target == known[0].target);
        let without = merge(&search(), &merged.list, vec![found("a")], at(10));
        assert_eq!(without.list[0].endpoint, Some(("h".to_owned(), 1)), "the last address stays");
    }

    #[test]
    fn what_another_configuration_looked_for_goes_at_once() {
        let ids = ["a", "b", "c", "d"];
        let known = merge(&search(), &[], ids.map(found).into(), at(0)).list;
        for now in [Sought { tags: tags("monthly"), ..search() }, Sought { place: "elsewhere".to_owned(), ..search() }]
        {
            let merged = merge(&now, &known, vec![found("e")], at(1));
            let retired = merged.news.iter().filter(|news| matches!(news, News::Retired { .. })).count();
            assert_eq!((retired, merged.news.len()), (4, 5), "{now:?}");
        }
    }
}
