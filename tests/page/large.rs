//! Ten thousand targets.

use crate::browser::Browser;
use crate::common::plain_http::address_in;
use crate::common::stage::{Stage, until};
use std::fmt::Write;

const TARGETS: usize = 10_000;

#[test]
fn ten_thousand_targets_are_shown_and_filtered() {
    let stage = Stage::set();
    let mut targets = String::new();
    for number in 0..TARGETS {
        write!(
            targets,
            "[targets.t{number:05}]\nprovider = \"shop\"\ninstance = \"crs-{number:08}\"\nschedule = \"0 {} * * SUN\"\nsplay = \"30m\"\nwindow = \"2h\"\n",
            number % 24
        )
        .unwrap();
    }
    stage.configure_with("listen = \"127.0.0.1:0\"", &targets);
    let daemon = stage.start(&[]);
    let site = format!("http://{}", address_in(&daemon.log()));
    let browser = Browser::start();
    until("all of them", || {
        browser.open(&format!("{site}/"));
        browser.run("return document.querySelector('h1')?.textContent === 'Passwords of 10000 targets'") == true
    });
    let rows = "document.querySelectorAll('tbody tr[id]').length";
    assert_eq!(browser.run(&format!("return {rows}")), 100);
    browser.until("document.querySelector('#live.on')");
    // Worked out aside; the page shows it when it is there.
    browser.until("document.querySelectorAll('svg.days rect.planned').length > 0");
    browser.run("document.getElementById('q').focus()");
    browser.keys("T0999\u{e007}");
    browser.until(&format!("location.search === '?q=T0999' && {rows} === 10"));
    browser.run("document.querySelector('.all').click()");
    browser.until(&format!("location.search === '' && {rows} === 100"));
    browser.run("document.querySelector('a[rel=next]').click()");
    browser.until("location.search === '?page=2' && document.querySelector('caption').textContent.startsWith('101 to 200 of 10000')");
    browser.is_content();
    drop(browser);
    daemon.stop();
}
