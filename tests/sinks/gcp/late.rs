//! What Google shows late or not at all, and what was covered by a delivery that did not see it.

use super::*;

/// `latest` may show what was added some time ago, for minutes; only a version by its number is there at once.
#[tokio::test]
async fn what_google_shows_late_makes_no_second_version_and_covers_no_newer_one() {
    for format in [Format::Json, Format::Raw] {
        let google = google().await;
        let sink = sink(&google, GcpSettings { format, ..settings(&google.url(), key()) });
        google.service.let_lag(2);
        for generation in [1, 2, 4] {
            sink.deliver(&document(generation)).await.unwrap();
            sink.deliver(&document(generation)).await.unwrap();
        }
        google.fail(Trouble::LostAnswer);
        let lost = sink.deliver(&document(5)).await.unwrap_err();
        assert_eq!(lost.kind, Kind::SinkUnavailable, "{lost}");
        sink.deliver(&document(5)).await.unwrap();
        assert_eq!(google.service.versions(SECRET).len(), 4);
        assert_eq!(sink.deliver(&document(4)).await.unwrap_err().kind, Kind::SinkNewer);
        google.fail(Trouble::Between(9));
        assert_eq!(sink.deliver(&document(6)).await.unwrap_err().kind, Kind::SinkNewer);
        assert_eq!(generation(&google), 9);
        // The others' document, which the raw one is not, is on top of ours.
        assert_eq!(google.service.versions(SECRET).len(), 7);
    }
}

/// What readers of `latest` do not see yet is nobody else's doing.
#[tokio::test]
async fn what_google_shows_late_is_no_difference() {
    let google = google().await;
    let sink = sink(&google, settings(&google.url(), key()));
    google.service.let_lag(1);
    for generation in [1, 2] {
        sink.deliver(&document(generation)).await.unwrap();
        assert_eq!(sink.holds(&document(generation)).await.unwrap(), Holds::Same);
        let Some(Held::AsSent(held)) = sink.read_back(&target()).await.unwrap() else { panic!("nothing is held") };
        assert_eq!(held.expose(), document(generation).password.expose());
    }
}

/// Both at once: `latest` goes on naming a version that somebody closed, and an addition to it makes one version.
#[tokio::test]
async fn what_is_closed_and_shown_late_is_written_once() {
    for (delivered, lag) in [(1, 0), (1, 1), (3, 2), (9, 3), (9, 20)] {
        let google = google().await;
        let sink = sink(&google, settings(&google.url(), key()));
        for generation in 1..=delivered {
            sink.deliver(&document(generation)).await.unwrap();
        }
        google.service.close(SECRET, "DISABLED");
        google.service.let_lag(lag);
        assert_eq!(sink.deliver(&document(delivered - 1)).await.unwrap_err().kind, Kind::SinkNewer);
        for _ in 0..2 {
            sink.deliver(&document(delivered)).await.unwrap();
            let versions = google.service.versions(SECRET).len() as u64;
            assert_eq!((generation(&google), versions), (delivered, delivered + 1), "{lag} behind");
        }
    }
}

/// Where the document does not say which generation it is, the note says from which version on what lies below is newer.
#[tokio::test]
async fn what_a_lost_write_covered_is_put_back_and_nothing_older_is() {
    let google = google().await;
    let raw = sink(&google, GcpSettings { format: Format::Raw, ..settings(&google.url(), key()) });
    for generation in [1, 2] {
        raw.deliver(&document(generation)).await.unwrap();
    }
    // A newer one is noted and not added yet: it will be, and nothing is put over the one before it.
    google.service.annotate(SECRET, "keywheel-generation", Some("4"));
    google.service.annotate(SECRET, "keywheel-after", Some("2"));
    assert_eq!(raw.deliver(&document(2)).await.unwrap_err().kind, Kind::SinkNewer);
    assert_eq!(google.service.versions(SECRET).len(), 2);
    google.fail(Trouble::LostBetween(9));
    assert_eq!(raw.deliver(&document(5)).await.unwrap_err().kind, Kind::SinkUnavailable);
    for _ in 0..2 {
        assert_eq!(raw.deliver(&document(5)).await.unwrap_err().kind, Kind::SinkNewer);
        assert_eq!((generation(&google), google.service.versions(SECRET).len()), (9, 5), "1, 2, 9, 5 and 9 again");
    }
}

#[tokio::test]
async fn what_a_delivery_covered_is_put_right_though_nobody_waits_for_it_any_more() {
    let store = Versions::begin().await;
    super::super::rows::left_in_the_middle(&store, |held| store.google.hold(held)).await;
    assert_eq!(store.google.service.versions(SECRET).len(), 4, "1, 3, 2 and 3 again");
}
