//! The rules every ledger keeps. Each one gets a store with nothing in it.

use crate::support::*;
use keywheel::fault::{Fault, Kind};
use keywheel::ledger::known::{Known, Missing, Retired};
use keywheel::ledger::{Entry, Projection};
use keywheel::moment::Moment;
use keywheel::name::{Generation, TargetName};
use keywheel::rotation::event::What;
use keywheel::rotation::state::Label;

/// One test for each rule, in a module named after the store.
macro_rules! conformance {
    ($store:ident, $make:expr) => {
        conformance!($store, $make,
            enlisting_is_idempotent
            an_unnamed_target_sleeps_until_it_is_named_again
            events_come_back_in_order_and_whole
            recent_begins_with_the_last_settled
            an_append_without_events_replaces_the_projection
            passwords_come_back_as_they_were
            an_append_is_all_or_nothing
            claims_exclude_each_other_and_fences_grow
            one_instance_has_one_rotation
            a_turn_that_outlives_its_target_keeps_nothing_busy
            due_is_ordered_and_bounded
            a_claimed_target_takes_nobodys_place
            a_target_nobody_enlisted_has_no_record
            lists_come_back_as_they_were_kept
            many_appenders_at_once_leave_no_gap);
    };
    ($store:ident, $make:expr, $($rule:ident)*) => {
        mod $store {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $rule() {
                crate::conformance::$rule(&{ use crate::*; $make }).await;
            })*
        }
    };
}

fn names(texts: &[&str]) -> Vec<TargetName> {
    texts.iter().map(|text| name(text)).collect()
}

fn events(entries: &[Entry]) -> Vec<keywheel::rotation::event::Event> {
    entries.iter().map(|entry| entry.event.clone()).collect()
}

fn refused(result: Result<(), Fault>) -> Kind {
    result.expect_err("it must be refused").kind
}

pub async fn enlisting_is_idempotent(store: &impl Store) {
    let ledger = store.open();
    ledger.enlist(&names(&["b", "a"]), at(10)).await.unwrap();
    let first = ledger.listing().await.unwrap();
    let shown: Vec<_> =
        first.iter().map(|row| (row.target.as_str(), row.projection.label, row.projection.generation.0)).collect();
    assert_eq!(shown, [("a", Label::Due, 0), ("b", Label::Due, 0)]);
    record(&*ledger, "a", &[asked(11, "x")]).await;
    ledger.enlist(&names(&["a", "b", "c"]), at(20)).await.unwrap();
    let wakes: Vec<_> = ledger.listing().await.unwrap();
    let wakes: Vec<_> = wakes.iter().map(|row| row.projection.wake_at).collect();
    assert_eq!(wakes, [at(500), at(10), at(20)], "a known target keeps its time");
    assert_eq!(ledger.history(&name("a")).await.unwrap().len(), 1);
}

pub async fn an_unnamed_target_sleeps_until_it_is_named_again(store: &impl Store) {
    let ledger = store.open();
    ledger.enlist(&names(&["a", "b"]), at(0)).await.unwrap();
    record(&*ledger, "a", &[asked(1, "x")]).await;
    ledger.enlist(&names(&["b"]), at(2)).await.unwrap();
    assert_eq!(ledger.due(Moment::NEVER, 9).await.unwrap(), names(&["b"]));
    assert_eq!(ledger.history(&name("a")).await.unwrap().len(), 1, "its record stays");
    ledger.enlist(&names(&["a", "b"]), at(3)).await.unwrap();
    assert_eq!(ledger.due(at(3), 9).await.unwrap(), names(&["b", "a"]));
}

pub async fn events_come_back_in_order_and_whole(store: &impl Store) {
    let entries = [
        adopted(1, 1, "today's"),
        settled(2),
        asked(3, "because \"quotes\", ünicode and \u{1} control"),
        prepared(4, 2, "tomorrow's"),
        entry(5, What::Halted { fault: Fault::new(Kind::Denied, "no") }),
    ];
    {
        let ledger = store.open();
        ledger.enlist(&names(&["a", "b"]), at(0)).await.unwrap();
        let mut claim = claim(&*ledger, "a").await;
        claim.append(&entries[..2], &projection(at(9))).await.unwrap();
        claim.append(&entries[2..], &projection(at(9))).await.unwrap();
    }
    let rows = store.open().history(&name("a")).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(rows.iter().map(|row| row.event.clone()).collect::<Vec<_>>(), events(&entries));
    assert_eq!(rows[0].rotation, None);
    assert_eq!(rows[3].rotation, Some(rotation(7)));
}

pub async fn recent_begins_with_the_last_settled(store: &impl Store) {
    let ledger = store.open();
    ledger.enlist(&names(&["a"]), at(0)).await.unwrap();
    let first = |rows: Vec<keywheel::ledger::Row>| rows.first().map(|row| (row.seq, rows.len()));
    for (entry, expected) in [
        (asked(1, "x"), (1, 1)),
        (asked(2, "y"), (1, 2)),
        (settled(3), (3, 1)),
        (asked(4, "z"), (3, 2)),
        (settled(5), (5, 1)),
        (prepared(6, 1, "p"), (5, 2)),
    ] {
        record(&*ledger, "a", &[entry]).await;
        assert_eq!(first(ledger.recent(&name("a")).await.unwrap()), Some(expected));
    }
    drop(ledger);
    let ledger = store.open();
    assert_eq!(first(ledger.recent(&name("a")).await.unwrap()), Some((5, 2)));
    assert_eq!(first(ledger.history(&name("a")).await.unwrap()), Some((1, 6)));
}

pub async fn an_append_without_events_replaces_the_projection(store: &impl Store) {
    let ledger = store.open();
    ledger.enlist(&names(&["a"]), at(0)).await.unwrap();
    let new = Projection {
        wake_at: at(77),
        label: Label::Behind,
        why: "the sink is down".to_owned(),
        generation: Generation(9),
        holds: Some("shop/crs-1".to_owned()),
    };
    claim(&*ledger, "a").await.append(&[], &new).await.unwrap();
    drop(ledger);
    let listing = store.open().listing().await.unwrap();
    assert_eq!(listing[0].projection, new);
}

pub async fn passwords_come_back_as_they_were(store: &impl Store) {
    let printable: String = (' '..='~').collect();
    let passwords = [printable.as_str(), "密码-Пароль-🔑", "", " ", "a'b\"c\\d%e\u{7f}"];
    {
        let ledger = store.open();
        ledger.enlist(&names(&["a"]), at(0)).await.unwrap();
        for (number, password) in (1..).zip(passwords) {
            record(&*ledger, "a", &[prepared(1, number, password)]).await;
        }
    }
    let ledger = store.open();
    for (number, password) in (1..).zip(passwords) {
        let opened = ledger.password(&name("a"), Generation(number)).await.unwrap();
        assert_eq!(opened.expose(), password);
    }
    for (target, number) in [("a", 99), ("b", 1)] {
        let missing = ledger.password(&name(target), Generation(number)).await;
        assert_eq!(missing.err().map(|fault| fault.kind), Some(Kind::LedgerCorrupt));
    }
}

pub async fn an_append_is_all_or_nothing(store: &impl Store) {
    let ledger = store.open();
    ledger.enlist(&names(&["a"]), at(0)).await.unwrap();
    record(&*ledger, "a", &[prepared(1, 1, "first")]).await;
    let mut claim = claim(&*ledger, "a").await;
    // A password is never overwritten; what stood before it in the same append goes with it.
    let overwriting = [asked(2, "x"), prepared(3, 2, "second"), prepared(4, 1, "other")];
    assert_eq!(refused(claim.append(&overwriting, &projection(at(888))).await), Kind::Bug);
    assert_eq!(ledger.history(&name("a")).await.unwrap().len(), 1);
    assert_eq!(ledger.listing().await.unwrap()[0].projection.wake_at, at(500));
    assert!(ledger.password(&name("a"), Generation(2)).await.is_err());
    let kept = ledger.password(&name("a"), Generation(1)).await.unwrap();
    assert_eq!(kept.expose(), "first");
    claim.append(&[prepared(5, 2, "second")], &projection(at(9))).await.unwrap();
    assert_eq!(ledger.history(&name("a")).await.unwrap()[1].seq, 2, "no number is lost");
}

pub async fn claims_exclude_each_other_and_fences_grow(store: &impl Store) {
    let mut last = 0;
    for _ in 0..2 {
        let ledger = store.open();
        ledger.enlist(&names(&["a", "b"]), at(0)).await.unwrap();
        for _ in 0..3 {
            let first = claim(&*ledger, "a").await;
            assert!(ledger.claim(&name("a"), at(0)).await.unwrap().is_none());
            assert!(ledger.claim(&name("b"), at(0)).await.unwrap().is_some());
            assert!(first.fence().0 > last, "{} after {last}", first.fence().0);
            last = first.fence().0;
        }
    }
}

pub async fn one_instance_has_one_rotation(store: &impl Store) {
    let ledger = store.open();
    ledger.enlist(&names(&["a", "b", "c"]), at(0)).await.unwrap();
    let holding = |instance: &str| Projection { holds: Some(instance.to_owned()), ..projection(at(9)) };
    let mut first = claim(&*ledger, "a").await;
    let mut second = claim(&*ledger, "b").await;
    first.append(&[asked(1, "x")], &holding("shop/one")).await.unwrap();
    first.append(&[asked(2, "x")], &holding("shop/one")).await.unwrap();
    let fault = second.append(&[asked(3, "y")], &holding("shop/one")).await.expect_err("busy");
    assert_eq!(fault.kind, Kind::Busy);
    assert!(fault.what.contains("shop/one") && fault.what.contains("target a"), "{fault}");
    assert!(ledger.history(&name("b")).await.unwrap().is_empty());
    second.append(&[], &holding("shop/two")).await.unwrap();
    first.append(&[], &projection(at(9))).await.unwrap();
    second.append(&[], &holding("shop/one")).await.unwrap();
    // A target that is no longer driven keeps nobody waiting.
    ledger.enlist(&names(&["a", "c"]), at(0)).await.unwrap();
    first.append(&[], &holding("shop/one")).await.unwrap();
}

pub async fn due_is_ordered_and_bounded(store: &impl Store) {
    let ledger = store.open();
    ledger.enlist(&names(&["a", "b", "c", "d"]), at(0)).await.unwrap();
    for (target, second) in [("a", 30), ("b", 10), ("c", 20), ("d", 40)] {
        claim(&*ledger, target).await.append(&[], &projection(at(second))).await.unwrap();
    }
    for (second, limit, expected) in
        [(9, 9, &[][..]), (10, 9, &["b"]), (30, 9, &["b", "c", "a"]), (99, 2, &["b", "c"]), (99, 0, &[])]
    {
        assert_eq!(ledger.due(at(second), limit).await.unwrap(), names(expected), "{second}");
    }
}

pub async fn a_claimed_target_takes_nobodys_place(store: &impl Store) {
    let ledger = store.open();
    ledger.enlist(&names(&["a", "b", "c"]), at(0)).await.unwrap();
    let held = claim(&*ledger, "a").await;
    assert_eq!(ledger.due(at(0), 2).await.unwrap(), names(&["b", "c"]));
    drop(held);
}

pub async fn a_target_nobody_enlisted_has_no_record(store: &impl Store) {
    let ledger = store.open();
    assert!(ledger.recent(&name("a")).await.unwrap().is_empty());
    assert!(ledger.history(&name("a")).await.unwrap().is_empty());
    let claimed = ledger.claim(&name("a"), at(0)).await.map(drop);
    assert_eq!(refused(claimed), Kind::Bug);
}

pub async fn lists_come_back_as_they_were_kept(store: &impl Store) {
    let full = Known {
        instance: "crs-1".to_owned(),
        place: "tencent/china/ap-guangzhou".to_owned(),
        name: "orders".to_owned(),
        endpoint: Some(("10.0.0.9".to_owned(), 6379)),
        tags: [("rotate".to_owned(), "weekly".to_owned())].into(),
        target: Some(name("weekly-orders")),
        since: at(1),
        missing: Some(Missing { since: at(2), times: 3, among_many: false }),
        retired: Some(Retired { since: at(4), why: "gone".to_owned() }),
    };
    let bare = Known {
        instance: "crs-2".to_owned(),
        place: "here".to_owned(),
        name: String::new(),
        endpoint: None,
        tags: [].into(),
        target: None,
        since: at(5),
        missing: None,
        retired: None,
    };
    let (both, one) = ([full.clone(), bare.clone()], [bare.clone()]);
    {
        let ledger = store.open();
        assert!(ledger.lists().await.unwrap().is_empty());
        ledger.keep_list(&name("weekly"), &one).await.unwrap();
        ledger.keep_list(&name("daily"), &one).await.unwrap();
        ledger.keep_list(&name("weekly"), &both).await.unwrap();
    }
    let ledger = store.open();
    ledger.keep_list(&name("none"), &[]).await.unwrap();
    let lists = ledger.lists().await.unwrap();
    let expected = [("daily", one.to_vec()), ("none", vec![]), ("weekly", both.to_vec())];
    assert_eq!(lists, expected.map(|(selection, list)| (name(selection), list)).into());
}

pub async fn many_appenders_at_once_leave_no_gap(store: &impl Store) {
    const TARGETS: u64 = 64;
    const APPENDS: u64 = 10;
    let all: Vec<TargetName> = (0..TARGETS).map(|number| name(&format!("t{number}"))).collect();
    {
        let ledger = store.open();
        ledger.enlist(&all, at(0)).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for target in all.clone() {
            let ledger = ledger.clone();
            tasks.spawn(async move {
                let mut claim = claim(&*ledger, target.as_str()).await;
                for number in 1..=APPENDS {
                    let password = format!("{target}/{number}");
                    let entries = [asked(1, "x"), prepared(2, number, &password)];
                    claim.append(&entries, &projection(at(9))).await.unwrap();
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    }
    let ledger = store.open();
    for target in all {
        let rows = ledger.history(&target).await.unwrap();
        let expected: Vec<u64> = (1..=2 * APPENDS).collect();
        assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), expected);
        let last = ledger.password(&target, Generation(APPENDS)).await.unwrap();
        assert_eq!(last.expose(), format!("{target}/{APPENDS}"));
    }
}

pub async fn a_turn_that_outlives_its_target_keeps_nothing_busy(store: &impl Store) {
    let ledger = store.open();
    ledger.enlist(&names(&["old", "new"]), at(0)).await.unwrap();
    let holding = Projection { holds: Some("shop/crs-1".to_owned()), ..projection(at(5)) };
    let mut under_way = claim(&*ledger, "old").await;
    under_way.append(&[asked(1, "x")], &holding).await.unwrap();
    ledger.enlist(&names(&["new"]), at(2)).await.unwrap();
    under_way.append(&[asked(3, "the end of its step")], &holding).await.unwrap();
    drop(under_way);
    assert_eq!(ledger.due(at(500), 9).await.unwrap(), names(&["new"]), "nobody drives it any more");
    let mut successor = claim(&*ledger, "new").await;
    successor.append(&[asked(4, "x")], &holding).await.expect("the instance is free");
}
