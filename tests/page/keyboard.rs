//! Everything is reached by the keyboard, and named for those who do not see it.

use crate::browser::{Browser, DOWN, ENTER, TAB, UP};
use crate::common::stage::{INITIAL, Stage};
use crate::started_with;
use keywheel::simulator::InstanceSettings;
use serde_json::{Value, json};

const FOCUSED: &str = "document.activeElement.textContent.trim()";

#[test]
fn from_the_search_to_a_target_and_back() {
    let ids = ["crs-stage001", "crs-stage002", "crs-stage003"];
    let stage = Stage::set_with(ids.map(|id| InstanceSettings::new(id, INITIAL)).to_vec());
    let more: String = [("orders-index", ids[1]), ("users-cache", ids[2])]
        .map(|(name, id)| stage.target(name, id, "adopt = { file = \"{folder}/initial\" }"))
        .concat();
    let (daemon, site) = started_with(&stage, "127.0.0.1:0", &more);
    for name in ["orders-index", "users-cache"] {
        stage.until(name, "settled", 1);
    }
    let browser = Browser::start();
    browser.open(&format!("{site}/"));
    browser.until("document.querySelectorAll('tbody th a').length === 3");
    browser.keys(TAB);
    assert_eq!(browser.text(FOCUSED), "To the content");
    tab_until(&browser, "document.activeElement.id === 'q'");
    browser.keys("orders");
    browser.keys(ENTER);
    browser.until("location.search === '?q=orders' && document.querySelectorAll('tbody th a').length === 2");
    browser.until("document.querySelector('#live.on')");
    tab_until(&browser, "document.activeElement.matches('tbody th a')");
    assert_eq!(browser.text(FOCUSED), "orders-cache");
    browser.keys(DOWN);
    assert_eq!(browser.text(FOCUSED), "orders-index");
    browser.keys(DOWN);
    assert_eq!(browser.text(FOCUSED), "orders-index", "the last one");
    browser.keys(UP);
    browser.keys(ENTER);
    browser.until("document.title.startsWith('orders-cache, settled')");
    browser.back();
    browser.until("location.search === '?q=orders' && document.getElementById('q').value === 'orders'");
    // What has the focus is seen to have it.
    tab_until(&browser, "document.activeElement.matches('tbody th a')");
    assert_eq!(browser.text("getComputedStyle(document.activeElement).outlineStyle"), "solid");
    browser.is_content();
    drop(browser);
    daemon.stop();
}

#[test]
fn each_part_has_a_role_and_a_name() {
    let stage = Stage::set();
    let (daemon, site) = started_with(&stage, "127.0.0.1:0", "");
    let browser = Browser::start();
    browser.open(&format!("{site}/"));
    browser.until("document.querySelector('#live.on') && document.querySelector('svg.days')");
    let tree = browser.command("Accessibility.getFullAXTree", json!({}));
    let nodes: Vec<(String, String)> = tree["nodes"].as_array().unwrap().iter().map(named).collect();
    let has = |role: &str, name: &str| nodes.iter().any(|(one, two)| one == role && two.starts_with(name));
    for (role, name) in [
        ("heading", "Passwords of 1 target"),
        ("navigation", "Targets by state"),
        ("search", ""),
        ("textbox", "Part of a target's name"),
        ("button", "Search"),
        ("table", "1 to 1 of 1"),
        ("columnheader", "Age of the password"),
        ("rowheader", "orders-cache"),
        ("image", "0 % of its max-age of 30d"),
        ("image", "In the last 30 days 0 rotations settled"),
        ("main", ""),
        ("status", ""),
    ] {
        assert!(has(role, name), "{role} {name}: {nodes:?}");
    }
    let unnamed: Vec<_> = nodes
        .iter()
        .filter(|(role, name)| name.is_empty() && ["link", "button", "textbox", "image"].contains(&&**role))
        .collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
    drop(browser);
    daemon.stop();
}

fn named(node: &Value) -> (String, String) {
    let text = |part: &str| node[part]["value"].as_str().unwrap_or_default().to_owned();
    (text("role"), text("name"))
}

fn tab_until(browser: &Browser, there: &str) {
    for _ in 0..40 {
        if browser.run(&format!("return {there}")) == true {
            return;
        }
        browser.keys(TAB);
    }
    panic!("the tabulator does not lead to where {there}");
}
