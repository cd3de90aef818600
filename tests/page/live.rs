//! A page that is open shows what happens without being read again, and keeps what a person did on it.

use crate::browser::Browser;
use crate::common::stage::{Stage, until};
use crate::{TARGET, started, started_with};
use keywheel::simulator::{Change, Fault, Step};
use std::net::TcpListener;

const LIVE: &str = "document.querySelector('#live.on')";
const STATE: &str = "document.querySelector('h1 .state').textContent";

#[test]
fn a_rotation_shows_itself_on_an_open_page() {
    let stage = Stage::set();
    let (daemon, site) = started(&stage);
    let browser = Browser::start();
    browser.open(&format!("{site}/targets/{TARGET}"));
    browser.until(LIVE);
    assert_eq!(browser.text(STATE), "settled");
    assert!(browser.text("document.querySelector('main').innerText").contains("generation 1"));
    // What is gone after the page was read anew.
    browser.run("window.here = true; document.getElementById('slots').open = true");

    stage.cloud().script([Step::once("Mod*InstancePassword", Fault::TaskStuck { span: None })]);
    assert_eq!(stage.keywheel(&["rotate", TARGET]).status, 0);
    browser.until(&format!("{STATE} === 'rotating'"));
    assert_eq!(browser.text("document.getElementById('said').textContent"), "orders-cache is rotating, generation 1.");
    assert_eq!(browser.text("document.title"), "orders-cache, rotating: keywheel");
    stage.change(Change { release_stuck: true, ..Change::default() });
    browser.until(&format!("{STATE} === 'settled'"));
    browser.until("document.querySelector('main').innerText.includes('generation 2')");
    browser.until("document.getElementById('said').textContent === 'orders-cache is settled, generation 2.'");
    browser.until("document.querySelectorAll('svg.own rect.settled').length === 1");
    assert_eq!(browser.run("return window.here && document.getElementById('slots').open"), true);
    browser.is_content();
    drop(browser);
    daemon.stop();
}

#[test]
fn what_a_person_does_on_a_page_stays_while_it_changes() {
    let stage = Stage::set();
    let (daemon, site) = started(&stage);
    let browser = Browser::start();
    browser.looks(390, "light");
    browser.open(&format!("{site}/"));
    browser.until(LIVE);
    browser.until("document.getElementById('days')");
    browser.run("document.getElementById('days').open = true; document.getElementById('q').focus(); scrollTo(0, 150)");
    browser.keys("ord");
    let scrolled = browser.run("return scrollY");
    stage.cloud().script([Step::once(
        "Mod*InstancePassword",
        Fault::RefuseBeforeEffect { code: "UnauthorizedOperation".to_owned() },
    )]);
    assert_eq!(stage.keywheel(&["rotate", TARGET]).status, 0);
    browser.until("document.querySelector('#t-orders-cache .state').textContent === 'halted'");
    browser.until("document.getElementById('said').textContent === 'orders-cache is halted.'");
    assert_eq!(browser.text("document.title"), "1 in trouble, 1 target: keywheel");
    assert_eq!(browser.text("document.activeElement.id"), "q");
    assert_eq!(browser.text("document.getElementById('q').value"), "ord");
    assert_eq!(browser.run("return document.getElementById('days').open"), true);
    assert_eq!(browser.run("return scrollY"), scrolled);
    // The keyboard's place is kept where the row itself changes.
    browser.run("document.querySelector('#t-orders-cache a').focus()");
    assert_eq!(stage.keywheel(&["recover", TARGET, "--resume"]).status, 0);
    browser.until("document.querySelector('#t-orders-cache .state').textContent === 'settled'");
    assert_eq!(browser.text("document.activeElement.textContent"), TARGET);
    browser.is_content();
    drop(browser);
    daemon.stop();
}

#[test]
fn a_page_says_when_it_is_not_live_any_more_and_is_again_when_it_can() {
    let stage = Stage::set();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (daemon, site) = started_with(&stage, &free.to_string(), "");
    let browser = Browser::start();
    browser.open(&format!("{site}/"));
    browser.until(LIVE);
    browser.is_content();
    daemon.stop();
    browser.until("document.getElementById('live').textContent === 'not live, reconnecting'");
    browser.until("document.getElementById('said').textContent.startsWith('This page is not live any more')");
    assert!(browser.text("document.querySelector('main').innerText").contains(TARGET), "it still shows what it showed");
    let daemon = stage.start(&[]);
    browser.until(LIVE);
    let _of_the_time_between = browser.complaints();
    assert_eq!(stage.keywheel(&["rotate", TARGET, "--wait"]).status, 0);
    browser.open(&format!("{site}/targets/{TARGET}"));
    browser.until("document.querySelector('main').innerText.includes('generation 2')");
    browser.is_content();
    drop(browser);
    daemon.stop();
}

#[test]
fn without_script_the_page_is_whole_and_says_how_old_it_is() {
    let stage = Stage::set();
    let (daemon, site) = started(&stage);
    let browser = Browser::start();
    browser.command("Emulation.setScriptExecutionDisabled", serde_json::json!({"value": true}));
    until("the timeline", || {
        browser.open(&format!("{site}/"));
        browser.run("return document.querySelectorAll('svg.days g').length === 61") == true
    });
    assert_eq!(browser.run("return document.getElementById('live').hidden"), true);
    let words = browser.text("document.body.innerText");
    for said in ["Passwords of 1 target", TARGET, "Thirty days each way", "Quota", "read this page again"] {
        assert!(words.contains(said), "{said}: {words}");
    }
    browser.run("document.querySelector('#t-orders-cache a').click()");
    browser.until("document.title.startsWith('orders-cache')");
    assert!(browser.text("document.body.innerText").contains("generation 1"));
    browser.is_content();
    drop(browser);
    daemon.stop();
}
