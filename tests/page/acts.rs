//! Over TLS, where programs may act: a page lives as it does without, and an action needs its token, also from the page's own origin.

use crate::browser::Browser;
use crate::common::stage::{INSTANCE, Stage};
use crate::{TARGET, started_by};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn an_action_without_a_token_is_refused_and_one_with_it_is_seen_on_the_page() {
    let stage = Stage::set();
    stage.write("token", TOKEN);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    stage.write("tls.pem", &made.cert.pem());
    stage.write("tls.key", &made.signing_key.serialize_pem());
    let daemon = "listen = \"127.0.0.1:0\"\ntokens = { deploys = { file = \"{folder}/token\" } }\ntls = { certificate = \"{folder}/tls.pem\", key = { file = \"{folder}/tls.key\" } }";
    let (daemon, address) = started_by(&stage, daemon, "");
    let browser = Browser::start();
    browser.open(&format!("https://{address}/targets/{TARGET}"));
    browser.until("document.querySelector('#live.on')");
    browser.is_content();
    let rotate = |token: &str| {
        browser.run("window.answered = 0");
        browser.run(&format!(
            "fetch('/v1/targets/{TARGET}/rotate', {{ method: 'POST', headers: {{ authorization: 'Bearer {token}' }} }}).then((answer) => {{ window.answered = answer.status }})"
        ));
        browser.until("window.answered !== 0");
        browser.run("return window.answered")
    };
    for wrong in ["", "fedcba9876543210fedcba9876543210"] {
        assert_eq!(rotate(wrong), 401);
    }
    assert_eq!(stage.passwords(INSTANCE).len(), 1, "nothing was rotated");
    assert_eq!(rotate(TOKEN), 200);
    browser.until("document.querySelector('main').innerText.includes('generation 2')");
    browser.until("document.querySelector('h1 .state').textContent === 'settled'");
    assert!(!browser.text("document.documentElement.outerHTML").contains(TOKEN));
    drop(browser);
    daemon.stop();
}
