//! What others wrote is text, also where the script puts it into an open page; and nobody acts by way of this address.

use crate::browser::Browser;
use crate::common::plain_http::{ask, get};
use crate::common::stage::{INSTANCE, Stage};
use crate::{TARGET, started, started_with};
use keywheel::simulator::{Fault, Step};

const SCRIPT: &str = "<img src=x onerror=\"window.hit=1\"><script>window.hit=1</script><b>\"'`{{7*7}}";

#[test]
fn hostile_words_are_shown_and_do_nothing() {
    let stage = Stage::set();
    let (daemon, site) = started(&stage);
    let browser = Browser::start();
    browser.open(&format!("{site}/targets/{TARGET}"));
    browser.until("document.querySelector('#live.on')");
    // A reason of a person, and a code of a cloud, come in by way of the script.
    stage.cloud().script([Step::once("Mod*InstancePassword", Fault::RefuseBeforeEffect { code: SCRIPT.to_owned() })]);
    assert_eq!(stage.keywheel(&["rotate", TARGET, "--reason", SCRIPT]).status, 0);
    browser.until("document.querySelector('main').innerText.includes('window.hit=1')");
    let inert = |browser: &Browser| {
        let made = "document.querySelectorAll('main script, main img, main b, header img').length";
        assert_eq!(browser.run(&format!("return {made}")), 0);
        assert_eq!(browser.run("return window.hit === undefined"), true);
        browser.is_content();
    };
    inert(&browser);
    // The same as the server puts it there, on both pages, and as it comes in an address.
    browser.open(&format!("{site}/targets/{TARGET}"));
    assert!(browser.text("document.querySelector('main').innerText").contains(SCRIPT));
    inert(&browser);
    browser.open(&format!(
        "{site}/?q=%3Cscript%3Ewindow.hit%3D1%3C%2Fscript%3E%22%3E%3Cimg%20src%3Dx%20onerror%3Dwindow.hit%3D1%3E"
    ));
    assert!(browser.text("document.getElementById('q').value").contains("onerror"));
    inert(&browser);
    drop(browser);
    daemon.stop();
}

#[test]
fn the_policy_stops_what_would_get_in_all_the_same() {
    let stage = Stage::set();
    let (daemon, site) = started(&stage);
    let browser = Browser::start();
    browser.open(&format!("{site}/"));
    for (attempt, complaint) in [
        (
            "const one = document.createElement('script'); one.textContent = 'window.hit = 1'; document.body.append(one)",
            "inline script",
        ),
        (
            "const one = document.createElement('img'); one.setAttribute('onerror', 'window.hit = 1'); one.src = 'data:,'; document.body.append(one)",
            "inline event handler",
        ),
        ("document.body.setAttribute('style', 'color: red')", "inline style"),
        ("fetch('http://127.0.0.1:1/').catch(() => {})", "connect"),
    ] {
        browser.is_content();
        browser.run(attempt);
        let mut all = Vec::new();
        crate::common::stage::until(complaint, || {
            all.extend(browser.complaints());
            !all.is_empty()
        });
        assert!(all.iter().any(|one| one.contains("Content Security Policy")), "{attempt}: {all:?}");
        assert_eq!(browser.run("return window.hit === undefined"), true, "{attempt}");
        let _rest = browser.complaints();
    }
    drop(browser);
    daemon.stop();
}

#[test]
fn nobody_acts_by_way_of_the_page() {
    let stage = Stage::set();
    let (daemon, site) = started(&stage);
    let console = site.strip_prefix("http://").unwrap().parse().unwrap();
    let paths = [
        "/",
        "/events",
        "/page.js",
        "/targets/orders-cache",
        "/targets/orders-cache/rotate",
        "/v1/rotate",
        "/v1/targets/orders-cache/reveal",
    ];
    for path in paths {
        for verb in ["POST", "PUT", "DELETE", "PATCH"] {
            let head = format!(
                "{verb} {path} HTTP/1.1\r\nHost: {console}\r\nOrigin: http://elsewhere.example\r\nContent-Length: 2\r\n\r\n{{}}"
            );
            let answer = ask(console, &head);
            let status: u16 =
                answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"));
            assert!(matches!(status, 401 | 403 | 404 | 405), "{verb} {path}: {answer}");
        }
    }
    let (_, page) = get(console, "/");
    assert!(!page.contains("method=\"post\"") && !page.contains(INSTANCE), "{page}");
    assert_eq!(stage.passwords(INSTANCE).len(), 1, "nothing was rotated");
    daemon.stop();
}

#[test]
fn a_name_leaves_nothing_to_inject_and_an_id_is_shown_as_it_is() {
    let stage = Stage::set();
    for name in ["'<b>'", "'a\"b'", "'a b'"] {
        stage.configure(&format!("[targets.{name}]\nprovider = \"shop\"\ninstance = \"{INSTANCE}\"\n"));
        let checked = stage.keywheel(&["check", "--offline"]);
        assert_ne!(checked.status, 0, "{name}: {}", checked.out);
    }
    let (instance, account) = ("<script>window.hit=1</script>", "<img/src=x/onerror=window.hit=1>");
    let evil = format!(
        "[targets.evil]\nprovider = \"shop\"\ninstance = \"{instance}\"\naccount = \"{account}\"\nlogin = \"redis://127.0.0.1:1\"\nadopt = {{ file = \"{{folder}}/initial\" }}\n"
    );
    let (daemon, site) = started_with(&stage, "127.0.0.1:0", &evil);
    let browser = Browser::start();
    for path in ["/", "/targets/evil"] {
        browser.open(&format!("{site}{path}"));
        browser.until("document.querySelector('#live.on')");
        browser.until("document.querySelector('main').innerText.includes('window.hit=1')");
        assert_eq!(browser.run("return document.querySelectorAll('main script, main img').length"), 0);
        assert_eq!(browser.run("return window.hit === undefined"), true);
        browser.is_content();
    }
    drop(browser);
    daemon.stop();
}
