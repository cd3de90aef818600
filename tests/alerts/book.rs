//! Each alert once, and its end once, whoever was away meanwhile.

use super::{at, channel, halted, key, takers};
use keywheel::alert::text::{body, subject};
use keywheel::alert::{Event, Group, Message};
use keywheel::watch::book::{Book, Covered, Takers};
use keywheel::watch::conditions::{Condition, Conditions};

fn message(book: &Book, name: &str, now: i64) -> Option<(Message, Covered)> {
    book.message(&channel(name), "web-1", at(now))
}

/// Each group as its state, event and count.
fn groups(message: &Message) -> Vec<(bool, Event, usize)> {
    message.groups.iter().map(|Group { event, over, count, .. }| (*over, *event, *count)).collect()
}

/// The channel hears whatever there is.
fn hears(book: &mut Book, name: &str, now: i64) -> Vec<(bool, Event, usize)> {
    let Some((message, covered)) = message(book, name, now) else { return Vec::new() };
    book.heard(&channel(name), &covered);
    groups(&message)
}

#[test]
fn raised_once_and_over_once_for_each_channel() {
    let (mut book, takers) = (Book::default(), takers(&["mail", "chat"]));
    for now in [0, 30, 60] {
        book.update(&halted(&["orders"], 0), &takers, at(now));
    }
    assert_eq!(hears(&mut book, "mail", 60), [(false, Event::Halted, 1)]);
    assert_eq!(hears(&mut book, "mail", 60), []);
    assert_eq!(hears(&mut book, "chat", 61), [(false, Event::Halted, 1)]);
    book.update(&Conditions::new(), &takers, at(90));
    book.update(&Conditions::new(), &takers, at(120));
    let (told, covered) = message(&book, "mail", 120).unwrap();
    assert_eq!((told.groups[0].named[0].since, told.groups[0].named[0].until), (at(0), Some(at(90))));
    book.heard(&channel("mail"), &covered);
    assert_eq!(message(&book, "mail", 130), None);
    assert_eq!(hears(&mut book, "chat", 130), [(true, Event::Halted, 1)]);
    assert_eq!(book, Book::default(), "nothing is left of it");
}

#[test]
fn nothing_is_raised_before_it_is_ripe_and_what_is_raised_lasts_as_long_as_it_holds() {
    let (mut book, takers) = (Book::default(), takers(&["mail"]));
    let condition = Condition { since: at(0), ripe_at: at(900), what: "in doubt".to_owned(), next_step: String::new() };
    let doubt = |ripe_at| -> Conditions {
        [(key(Event::Doubt, "orders"), Condition { ripe_at: at(ripe_at), ..condition.clone() })].into()
    };
    book.update(&doubt(900), &takers, at(899));
    assert_eq!(message(&book, "mail", 899), None);
    book.update(&doubt(900), &takers, at(900));
    assert_eq!(hears(&mut book, "mail", 900), [(false, Event::Doubt, 1)]);
    book.update(&doubt(5_000), &takers, at(930));
    assert_eq!(message(&book, "mail", 930), None, "it goes on");
    book.update(&Conditions::new(), &takers, at(960));
    assert_eq!(hears(&mut book, "mail", 960), [(true, Event::Doubt, 1)]);
}

#[test]
fn a_channel_that_was_away_hears_what_it_missed_and_nothing_twice() {
    let (mut book, takers) = (Book::default(), takers(&["mail", "chat"]));
    let none = Conditions::new();
    book.update(&halted(&["orders"], 0), &takers, at(0));
    hears(&mut book, "mail", 0);
    // It ends and comes back: the mail hears all of it, the chat was away.
    book.update(&none, &takers, at(30));
    assert_eq!(hears(&mut book, "mail", 30), [(true, Event::Halted, 1)]);
    book.update(&halted(&["orders"], 60), &takers, at(60));
    assert_eq!(hears(&mut book, "mail", 60), [(false, Event::Halted, 1)]);
    assert_eq!(hears(&mut book, "chat", 60), [(false, Event::Halted, 1)], "once, as it is now");
    // Back before the chat heard that it was over: to the chat nothing happened.
    book.update(&none, &takers, at(90));
    hears(&mut book, "mail", 90);
    book.update(&halted(&["orders"], 120), &takers, at(120));
    assert_eq!(message(&book, "chat", 120), None);
    assert_eq!(hears(&mut book, "mail", 120), [(false, Event::Halted, 1)]);
    // It comes back while its end is on the way to the chat.
    book.update(&none, &takers, at(150));
    let (_, covered) = message(&book, "chat", 150).unwrap();
    book.update(&halted(&["orders"], 180), &takers, at(180));
    book.heard(&channel("chat"), &covered);
    assert_eq!(hears(&mut book, "chat", 180), [(false, Event::Halted, 1)]);
    // Raised and over while the chat was away: it hears both in one.
    book.update(&halted(&["orders", "till"], 180), &takers, at(210));
    book.update(&halted(&["orders"], 180), &takers, at(240));
    assert_eq!(hears(&mut book, "chat", 240), [(true, Event::Halted, 1)]);
}

#[test]
fn a_channel_takes_what_it_is_configured_to_take() {
    let mut book = Book::default();
    let only: Takers = [(channel("mail"), [Event::TooOld].into()), (channel("chat"), [Event::Halted].into())].into();
    book.update(&halted(&["orders"], 0), &only, at(0));
    assert_eq!(message(&book, "mail", 0), None);
    assert_eq!(hears(&mut book, "chat", 0), [(false, Event::Halted, 1)]);
    // A channel that is new, or has another name or other events, hears of what holds; one that is gone is forgotten.
    let later = takers(&["mail", "pager"]);
    book.keep_channels(&later);
    book.update(&halted(&["orders", "till"], 0), &later, at(30));
    assert_eq!(message(&book, "chat", 30), None);
    for channel in ["mail", "pager"] {
        assert_eq!(hears(&mut book, channel, 30), [(false, Event::Halted, 2)], "{channel}");
    }
    // Nobody was there to hear of it for a while.
    book.keep_channels(&takers(&[]));
    book.keep_channels(&takers(&["phone"]));
    assert_eq!(hears(&mut book, "phone", 60), [(false, Event::Halted, 2)]);
}

#[test]
fn hundreds_at_once_are_one_message_with_a_count_and_ten_names() {
    let (mut book, takers) = (Book::default(), takers(&["mail"]));
    let names: Vec<String> = (0..400).map(|number| format!("cache-{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    book.update(&halted(&names, 0), &takers, at(0));
    let (told, covered) = message(&book, "mail", 0).unwrap();
    assert_eq!(groups(&told), [(false, Event::Halted, 400)]);
    assert_eq!(told.groups[0].named.len(), 10);
    assert_eq!(subject(&told), "keywheel on web-1: 400 targets are halted");
    let text = body(&told);
    assert!(text.contains("cache-009") && !text.contains("cache-010"), "{text}");
    assert!(text.contains("and 390 more"), "{text}");
    book.heard(&channel("mail"), &covered);
    assert_eq!(message(&book, "mail", 1), None);
    // Three of them are well again.
    book.update(&halted(&names[3..], 0), &takers, at(30));
    let (told, _) = message(&book, "mail", 30).unwrap();
    assert_eq!(subject(&told), "keywheel on web-1: 3 targets are halted no more");
}

#[test]
fn the_same_message_has_the_same_id_and_another_one_another() {
    let (mut book, takers) = (Book::default(), takers(&["mail", "chat"]));
    book.update(&halted(&["orders"], 0), &takers, at(0));
    let id = |book: &Book, name, now| message(book, name, now).unwrap().0.id;
    let first = id(&book, "mail", 0);
    assert_eq!(id(&book, "mail", 600), first);
    assert_ne!(id(&book, "chat", 0), first);
    book.update(&halted(&["orders", "till"], 0), &takers, at(30));
    assert_ne!(id(&book, "mail", 30), first);
}

#[test]
fn a_message_reads_well() {
    let (mut book, takers) = (Book::default(), takers(&["mail"]));
    book.update(&halted(&["orders"], 0), &takers, at(5));
    let (told, _) = message(&book, "mail", 5).unwrap();
    assert_eq!(subject(&told), "keywheel on web-1: orders is halted");
    assert_eq!(
        body(&told),
        "keywheel on web-1, 2027-01-15T08:00:05.000Z\n\nOrders is halted\n\
         - orders, since 2027-01-15T08:00:00.000Z: the instance lets anybody in. Next: switch it to password login\n"
    );
    let test = Message { groups: Vec::new(), ..told };
    assert_eq!(subject(&test), "keywheel on web-1: a test message");
}
