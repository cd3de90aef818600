//! The scripted faults: what can happen to a command, for each command of a rotation that it can happen to, and how that must end.

use crate::case::{CASES, Case, Kept};
use crate::each_case::each_case;
use crate::line::{Crash, Deed, Point};
use crate::row::{End, Recover, Row, play};
use crate::stage::apart;
use crate::table;

/// A row's name, or a part of it, to run alone.
const ONLY: &str = "KEYWHEEL_ROW";
/// Of what happens to a command that changes nothing, a normal run tries each so-manieth only.
const THINNED: usize = 8;
/// Of everything that can happen, in the cases after the first.
const THINNED_CASES: usize = 3;

const THE_CHANGE: &str = "the change";

const NEW: &str = "-ERR something that nobody has heard of\r\n";
const LOADING: &str = "-LOADING Redis is loading the dataset in memory\r\n";
const NO_PERMISSION: &str = "-NOPERM this user has no permissions to run this command\r\n";
const NO_PROTOCOL: &str = "HTTP/1.1 400 Bad Request\r\n\r\n";
const NUMBER: &str = ":7\r\n";
const NOTHING: &str = "$-1\r\n";
const BROKEN: &str = "$-x\r\n";

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Changes a password or a setting.
    Change,
    /// Writes a file, after a change.
    Save,
    /// Writes a file before any change.
    Rehearsal,
    /// Looks at a user before any change.
    Look,
    /// Looks at it after one.
    Review,
    /// Logs in, to administer.
    Admin,
    /// Logs in, to prove a password.
    Login,
}

use Kind::{Admin, Change, Login, Look, Rehearsal, Review, Save};

/// What can happen, and to which commands.
#[rustfmt::skip]
const DEEDS: [(&str, Deed, &[Kind]); 26] = [
    ("dropped before it arrives", Deed::Swallow, &[Change, Save, Rehearsal, Look, Review, Admin, Login]),
    ("done, and no answer", Deed::LoseAnswer, &[Change, Save, Rehearsal, Look, Review, Admin, Login]),
    ("done, and half an answer", Deed::CutAnswer, &[Change, Save, Rehearsal, Look, Review, Admin, Login]),
    ("done late, after the next login", Deed::Late("AUTH"), &[Change, Save]),
    ("done late, after the next save", Deed::Late("ACL SAVE"), &[Change]),
    ("an unknown error", Deed::Say { words: NEW, applied: false }, &[Change, Save, Rehearsal, Look, Review, Admin, Login]),
    ("done, then an unknown error", Deed::Say { words: NEW, applied: true }, &[Change, Save]),
    ("still loading", Deed::Say { words: LOADING, applied: false }, &[Change, Save, Rehearsal, Look, Review, Admin, Login]),
    ("done, then still loading", Deed::Say { words: LOADING, applied: true }, &[Change, Save]),
    ("not permitted", Deed::Say { words: NO_PERMISSION, applied: false }, &[Change, Rehearsal, Look, Review]),
    ("garbage: another protocol", Deed::Say { words: NO_PROTOCOL, applied: false }, &[Change, Save, Look, Review, Admin, Login]),
    ("done, then garbage: another protocol", Deed::Say { words: NO_PROTOCOL, applied: true }, &[Change, Save]),
    ("garbage: a number", Deed::Say { words: NUMBER, applied: false }, &[Change, Save, Rehearsal, Look, Review, Admin, Login]),
    ("done, then garbage: a number", Deed::Say { words: NUMBER, applied: true }, &[Change, Save]),
    ("garbage: nothing", Deed::Say { words: NOTHING, applied: false }, &[Change, Save, Admin, Login]),
    ("done, then a broken length", Deed::Say { words: BROKEN, applied: true }, &[Change, Save, Look, Review]),
    ("a line without end", Deed::Endless { words: "+OK and on and on ", applied: false }, &[Change, Save, Look, Review, Admin, Login]),
    ("done, then a line without end", Deed::Endless { words: "+OK and on and on ", applied: true }, &[Change, Save]),
    ("done, then two gigabytes", Deed::Endless { words: "$2000000000\r\n", applied: true }, &[Change, Save, Look, Review]),
    ("never answered", Deed::Silence { applied: false }, &[Change, Save, Rehearsal, Look, Review, Admin, Login]),
    ("done, and never answered", Deed::Silence { applied: true }, &[Change, Save]),
    ("the server stands still until asked again", Deed::Stop { until: 1 }, &[Change, Save, Rehearsal, Look, Review, Admin, Login]),
    ("the server stands still until asked thrice", Deed::Stop { until: 3 }, &[Change, Save]),
    ("kill -9 of the server before", Deed::Crash(Crash::Before), &[Change, Save, Rehearsal, Look, Review, Admin, Login]),
    ("kill -9 of the server, done", Deed::Crash(Crash::Done), &[Change, Save]),
    ("kill -9 of the server, answered", Deed::Crash(Crash::Answered), &[Change, Save, Rehearsal, Login]),
];

fn point(name: &'static str, words: impl Into<String>, nth: usize) -> Point {
    Point { name, words: words.into(), nth, after: None }
}

fn after(mut point: Point, words: &str) -> Point {
    point.after = Some(words.to_owned());
    point
}

/// The commands of an undisturbed rotation that something can happen to.
fn points(case: &Case) -> Vec<(Kind, Point)> {
    let Case { change, save, account, admin, .. } = *case;
    let adds = if case.kept == Kept::Requirepass { change.to_owned() } else { format!("{change}#") };
    let mut points = vec![
        (Change, point(THE_CHANGE, adds.as_str(), 1)),
        (Save, after(point("the save", save, 1), &adds)),
        (Rehearsal, point("the rehearsed save", save, 1)),
        (Look, point("the look beforehand", format!("ACL GETUSER {account}"), 1)),
        (Review, after(point("the look after it", format!("ACL GETUSER {account}"), 1), &adds)),
        (Admin, point("the administrator's login", format!("AUTH {admin} "), 1)),
        (Login, after(point("the login that proves it", format!("AUTH {account} "), 1), &adds)),
    ];
    if case.overlaps {
        let takes_away = format!("{change}!");
        points.push((Change, point("the taking away", takes_away.as_str(), 1)));
        points.push((Save, after(point("the save after taking away", save, 1), &takes_away)));
        points.push((Login, after(point("the login that proves it gone", format!("AUTH {account} "), 1), &takes_away)));
    }
    points
}

/// Beside the others, on a replica.
fn points_of_replica() -> Vec<(Kind, Point)> {
    let sets = "CONFIG SET masterauth ";
    let rewrites = point("the replica's save of it", "CONFIG REWRITE", 1);
    vec![(Change, point("the replica's own login", sets, 1)), (Save, after(rewrites, sets))]
}

/// Every row of a case, and whether a normal run has it.
fn rows(case: &'static Case, number: usize) -> Vec<(String, bool, Row)> {
    let mut rows = vec![("nothing goes wrong".to_owned(), true, Row { traps: vec![], end: End::Settled(1) })];
    let mut count = number;
    for node in 0..case.nodes {
        let more = if node > 0 { points_of_replica() } else { vec![] };
        for (kind, point) in points(case).into_iter().chain(more) {
            for (deed_name, deed, _) in DEEDS.into_iter().filter(|(_, _, kinds)| kinds.contains(&kind)) {
                count += 1;
                let step = match kind {
                    Change | Save => {
                        if number == 0 {
                            1
                        } else {
                            THINNED_CASES * case.nodes
                        }
                    }
                    Rehearsal | Look | Review | Admin | Login => THINNED,
                };
                let where_to = if node > 0 { "replica: " } else { "" };
                let name = format!("{where_to}{}: {deed_name}", point.name);
                let row = Row::of(node, point.clone(), deed).ends(end(case, kind, &point, deed));
                rows.push((name, count.is_multiple_of(step), row));
            }
        }
    }
    let more = several(case).into_iter().map(|(name, row)| (name.to_owned(), true, row));
    rows.into_iter().chain(more).collect()
}

/// How it ends when that happens to such a command.
fn end(case: &Case, kind: Kind, point: &Point, deed: Deed) -> End {
    // Where another server had it already, or the rotation is over, a refusal halts nothing: it is tried again.
    let refuses_all = match kind {
        Change => case.nodes == 1 && point.name == THE_CHANGE,
        Rehearsal | Look => true,
        Save | Review | Admin | Login => false,
    };
    let said = if let Deed::Say { words, .. } = deed { words } else { "" };
    match said {
        NO_PERMISSION if refuses_all => End::Halted("permission", Recover::Resume, 1),
        NEW | NUMBER if kind == Rehearsal => End::Halted("answered", Recover::Resume, 1),
        _ => End::Settled(1),
    }
}

/// Rows in which more than one thing happens.
#[rustfmt::skip]
fn several(case: &'static Case) -> Vec<(&'static str, Row)> {
    let all = points(case);
    let (change, save) = (|| all[0].1.clone(), || all[1].1.clone());
    let mut rows = vec![
        ("the change: dropped three times", Row::of(0, change(), Deed::Swallow).times(3)),
        ("the save: dropped three times", Row::of(0, save(), Deed::Swallow).times(3)),
        ("the change: done late, once all is settled", Row::of(0, change(), Deed::LateAtRest).ends(End::ThenLate)),
    ];
    // With two passwords, or one setting, nothing is compared: what comes that late is done.
    // A pair's next rotation is not for this account.
    if !case.overlaps && case.kept != Kept::Requirepass && case.taken_in == 1 {
        rows.push(("the change: done late, long after", Row::of(0, change(), Deed::LateAtRest).ends(End::LongAfter)));
    }
    if case.nodes > 1 {
        let both = |one, other| Row::of(0, change(), one).and(Row::of(1, change(), other));
        rows.push(("both changes: dropped", both(Deed::Swallow, Deed::Swallow)));
        rows.push(("both changes: done, and no answer", both(Deed::LoseAnswer, Deed::LoseAnswer)));
        rows.push(("one change dropped, the other unanswered", both(Deed::Swallow, Deed::LoseAnswer)));
        rows.push(("one change unanswered, the other dropped", both(Deed::LoseAnswer, Deed::Swallow)));
        rows.push(("kill -9 of both servers before", both(Deed::Crash(Crash::Before), Deed::Crash(Crash::Before))));
        rows.push(("kill -9 of both servers, one had it", both(Deed::Crash(Crash::Done), Deed::Crash(Crash::Answered))));
    } else if case.account == "app" {
        // What was given is a generation of its own.
        rows.push(("the change: dropped, and somebody else sets another password", Row::of(0, change(), Deed::Outsider(case.account))
            .ends(End::Halted("somebody else", Recover::Set, 2))));
    }
    rows
}

async fn run(number: usize) {
    let case = &CASES[number];
    let (only, long) = (std::env::var(ONLY).ok(), std::env::var_os("KEYWHEEL_LONG").is_some());
    let wanted = |name: &str, usual: bool| match &only {
        Some(only) => name.contains(only),
        None => usual || long,
    };
    let rows = rows(case, number).into_iter().filter(|(name, usual, _)| wanted(name, *usual));
    let rows = rows.map(|(name, _, row)| (name, row)).collect();
    let lines = table::run(rows, async |row| (None, apart(move || play(case, row)).await)).await;
    table::print(&format!("One command goes wrong: {}, one rotation each, by the built program", case.name), &lines);
}

each_case! {
    on 4 threads;
    0 in_place;
    1 overlap;
    2 alternate;
    3 in_place_requirepass;
    4 overlap_in_settings;
    5 in_place_replica;
    6 overlap_replica;
    7 alternate_replica;
}
