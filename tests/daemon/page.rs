//! The status page of the built program: what it shows of a fleet and of one target, and that nothing gets into it that should not.

use crate::common::plain_http::{address_in, ask, get};
use crate::common::stage::{INITIAL, INSTANCE, SECRET_KEY, Stage, until};
use keywheel::clock::{Clock, SystemClock};
use keywheel::simulator::{Fault, Step};
use std::time::Duration;

const TARGET: &str = "orders-cache";
const HOSTILE: &str = "%3Cscript%3Ealert(1)%3C%2Fscript%3E";

#[test]
fn the_page_shows_the_fleet_and_a_targets_story_and_no_secret() {
    let stage = Stage::set();
    let adopt = "adopt = { file = \"{folder}/initial\" }\nmax-age = \"30d\"\nsinks = [\"orders\"]";
    stage.configure_with(
        "listen = \"127.0.0.1:0\"",
        &(stage.sink("orders", "") + &stage.target(TARGET, INSTANCE, adopt)),
    );
    let daemon = stage.start(&[]);
    let console = address_in(&daemon.log());
    stage.until(TARGET, "settled", 1);
    until("the fleet", || get(console, "/").1.contains("<span class=\"state settled\">settled</span>"));
    let (status, page) = get(console, "/");
    assert_eq!(status, 200);
    for words in ["Passwords of 1 target<", ">orders-cache</a>", "0 % of its max-age of 30d", "1 to 1 of 1"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert_eq!(get(console, "/?q=ORDERS&state=settled").1.matches(">orders-cache</a>").count(), 1);
    for nothing in ["/?q=nobody", "/?state=halted", "/?state=in+trouble"] {
        assert!(get(console, nothing).1.contains("No target is like that."), "{nothing}");
    }
    let head = ask(console, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let policy = "content-security-policy: default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'\r\n";
    assert!(head.contains(policy) && head.contains("content-type: text/html; charset=utf-8\r\n"), "{head}");
    assert!(ask(console, "GET /style.css HTTP/1.1\r\nHost: x\r\n\r\n").contains("content-type: text/css"));

    stage.cloud().script([Step::once(
        "Mod*InstancePassword",
        Fault::RefuseBeforeEffect { code: "UnauthorizedOperation".to_owned() },
    )]);
    let hostile = "<script>alert(1)</script>";
    assert_eq!(stage.keywheel(&["rotate", TARGET, "--reason", hostile]).status, 0);
    until("the halt", || get(console, "/?state=halted").1.contains(">orders-cache</a>"));
    let (status, story) = get(console, "/targets/orders-cache");
    assert_eq!(status, 200);
    for words in ["UnauthorizedOperation", "What to do:", "&lt;script&gt;alert(1)&lt;&#x2f;script&gt;", "generation 1"]
    {
        assert!(story.contains(words), "{words}: {story}");
    }
    assert_eq!(stage.keywheel(&["recover", TARGET, "--resume"]).status, 0);
    stage.until(TARGET, "settled", 2);
    let (_, story) = get(console, "/targets/orders-cache");
    assert!(story.contains("generation 2") && !story.contains("What to do:"), "{story}");

    let live = stage.live(INSTANCE);
    for path in ["/", "/targets/orders-cache"] {
        let (_, page) = get(console, path);
        for secret in [INITIAL, &live, SECRET_KEY, &stage.new_key()] {
            assert!(!page.contains(secret.trim()), "{path}: {page}");
        }
        // The policy would refuse them, and a browser's console would say so.
        assert_eq!(page.matches("<script").count(), 1, "{page}");
        assert!(page.contains("<script src=\"/page.js\" defer></script>"), "{page}");
        for refused in ["style=\"", "javascript:", "http:", "https:"] {
            assert!(!page.contains(refused), "{path}, {refused}: {page}");
        }
    }
    daemon.stop();
}

#[test]
fn what_is_asked_for_in_bad_faith_is_answered_without_an_echo() {
    let stage = Stage::set();
    let adopt = "adopt = { file = \"{folder}/initial\" }";
    stage.configure_with("listen = \"127.0.0.1:0\"", &stage.target(TARGET, INSTANCE, adopt));
    let daemon = stage.start(&[]);
    let console = address_in(&daemon.log());
    stage.until(TARGET, "settled", 1);
    for path in [
        format!("/targets/{HOSTILE}"),
        "/targets/".to_owned(),
        "/targets/..%2f..%2fetc%2fpasswd".to_owned(),
        "/targets/nobody".to_owned(),
        "/targets/orders-cache/reveal".to_owned(),
        "/style.css/..".to_owned(),
        format!("/{}", "x".repeat(8_000)),
    ] {
        let (status, said) = get(console, &path);
        assert!(matches!(status, 404 | 414), "{path}: {status}");
        assert!(said.len() < 200 && !said.contains("script"), "{said}");
    }
    let (status, page) = get(console, &format!("/?q={HOSTILE}&page=99999999999999999999&state={HOSTILE}&q=%ff%00"));
    assert_eq!(status, 200);
    assert!(!page.contains("<script>") && page.matches("<script").count() == 1, "{page}");
    daemon.stop();
}

#[test]
fn the_page_plans_what_plan_says_and_counts_what_ended() {
    let stage = Stage::set();
    let adopt =
        "adopt = { file = \"{folder}/initial\" }\nschedule = \"10 4,16 * * *\"\nwindow = \"2h\"\nsplay = \"1h\"";
    let date = (SystemClock.now() + Duration::from_secs(4 * 86_400)).utc().format("%Y-%m-%d").to_string();
    let freeze = format!("[freezes.move]\nfrom = \"{date}\"\nto = \"{date}\"\n");
    stage.configure_with(
        "listen = \"127.0.0.1:0\"\ntime-zone = \"Asia/Shanghai\"",
        &(freeze + &stage.target(TARGET, INSTANCE, adopt)),
    );
    let daemon = stage.start(&[]);
    let console = address_in(&daemon.log());
    stage.until(TARGET, "settled", 1);
    assert_eq!(stage.keywheel(&["rotate", TARGET, "--wait"]).status, 0);
    stage.cloud().script([Step::once(
        "Mod*InstancePassword",
        Fault::RefuseBeforeEffect { code: "UnauthorizedOperation".to_owned() },
    )]);
    assert_ne!(stage.keywheel(&["rotate", TARGET, "--wait"]).status, 0);

    let plan = stage.keywheel(&["plan", "--json", "--for", "10d", TARGET]);
    let plan: serde_json::Value = serde_json::from_str(&plan.out).unwrap();
    let slots = plan["slots"].as_array().unwrap();
    assert!((17..=18).contains(&slots.len()), "{plan}");
    let (_, story) = get(console, "/targets/orders-cache");
    for slot in slots {
        // Such as Fri 2026-11-27 04:31, in the zone of the schedule, without its seconds.
        let (due, _) = slot["local"].as_str().unwrap().rsplit_once(':').unwrap();
        assert_eq!(story.matches(&format!("class=\"when\">{due}</td>")).count(), 1, "{due}: {story}");
    }
    let frozen = "while it is frozen: move, from ";
    assert!(story.contains(frozen) && story.contains(&format!("{date} 00:00 to ")), "{story}");
    for words in ["In the last 30 days 1 rotation settled and 1 failed; in the next 30 days ", "class=\"frozen\""] {
        assert!(story.contains(words), "{words}: {story}");
    }
    let (_, many) = story.split_once("; in the next 30 days ").unwrap();
    let many: usize = many.split(' ').next().unwrap().parse().unwrap();
    assert!((58..=60).contains(&many), "two a day, but for one day: {many}");
    // The fleet's is worked out every few seconds.
    let words = format!("In the last 30 days 1 rotation settled and 1 failed; in the next 30 days {many}");
    until("the fleet's days", || get(console, "/").1.contains(&words));
    let (_, page) = get(console, "/");
    for said in [
        "A column is a day in Asia&#x2f;Shanghai",
        "<td data-label=\"Settled\">1</td>",
        "<td data-label=\"Failed\">1</td>",
        "of the quota in the fullest minute",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    daemon.stop();
}
