//! Three widths, light and dark: nothing runs out of the page. The pictures are for people: `KEYWHEEL_PICTURES=FOLDER` keeps them.

use crate::browser::Browser;
use crate::common::stage::{INITIAL, INSTANCE, Stage};
use crate::{TARGET, started_with};
use keywheel::simulator::{Fault, InstanceSettings, Step};
use std::path::PathBuf;

#[test]
fn at_three_widths_light_and_dark_everything_is_inside() {
    let others: Vec<(String, String)> = (2..=9)
        .map(|number| (format!("shop-{number}-sessions-of-a-rather-long-name"), format!("crs-stage{number:03}")))
        .collect();
    let ids = std::iter::once(INSTANCE.to_owned()).chain(others.iter().map(|(_, id)| id.clone()));
    let stage = Stage::set_with(ids.map(|id| InstanceSettings::new(&id, INITIAL)).collect());
    let keys = "adopt = { file = \"{folder}/initial\" }\nmax-age = \"90d\"\nschedule = \"0 4 * * *\"\nwindow = \"3h\"\nsplay = \"1h\"";
    let more: String = others.iter().map(|(name, id)| stage.target(name, id, keys)).collect();
    let (daemon, site) = started_with(&stage, "127.0.0.1:0", &more);
    for (name, _) in &others {
        stage.until(name, "settled", 1);
    }
    assert_eq!(stage.keywheel(&["rotate", &others[0].0, "--wait"]).status, 0);
    assert_eq!(stage.keywheel(&["pause", &others[1].0]).status, 0);
    stage.cloud().script([Step::once(
        "Mod*InstancePassword",
        Fault::RefuseBeforeEffect { code: "UnauthorizedOperation".to_owned() },
    )]);
    assert_ne!(stage.keywheel(&["rotate", TARGET, "--wait"]).status, 0);

    let kept = std::env::var_os("KEYWHEEL_PICTURES").map(PathBuf::from);
    let folder = kept.unwrap_or_else(|| stage.folder().to_owned());
    let browser = Browser::start();
    for (page, path) in [
        ("fleet", "/".to_owned()),
        ("halted", format!("/targets/{TARGET}")),
        ("target", format!("/targets/{}", others[0].0)),
    ] {
        for scheme in ["light", "dark"] {
            for width in [390, 820, 1_440] {
                browser.looks(width, scheme);
                browser.open(&format!("{site}{path}"));
                browser.until("document.querySelector('#live.on') && document.querySelector('svg.days')");
                browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true })");
                let over = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
                assert_eq!(browser.run(&format!("return {over}")), 0, "{page} at {width}");
                let dark = browser.text("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)";
                assert_eq!(dark, scheme == "dark");
                let bytes = browser.picture(&folder.join(format!("{page}-{width}-{scheme}.png")));
                assert!(bytes > 10_000, "{page} at {width} is empty");
            }
        }
    }
    browser.is_content();
    drop(browser);
    daemon.stop();
}
