//! A program as a sink: what it reads, what its end means, and what it is asked.

use super::super::address::tests::document;
use super::*;
use crate::moment::Moment;
use crate::name::RotationId;

const SPECIAL: &str = "a!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ é";

fn sink(script: &str, more: serde_json::Value) -> CommandSink {
    let mut settings = serde_json::json!({ "argv": ["/bin/sh", "-c", script] });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    CommandSink::new(serde_json::from_value(settings).unwrap()).unwrap()
}

#[tokio::test]
async fn the_program_reads_the_whole_document_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let sink = sink(&format!("cat > {}", copy.display()), serde_json::json!({}));
    let mut document = document(7, SPECIAL);
    let rotation = RotationId::from_parts(Moment::from_seconds(9), 3);
    document.rotation = Some(rotation);
    document.login_password = Secret::new(format!("app@{SPECIAL}"));
    sink.deliver(&document).await.unwrap();
    let heard: serde_json::Value = serde_json::from_slice(&std::fs::read(&copy).unwrap()).unwrap();
    let url = connection_url(&document).unwrap();
    assert_eq!(
        heard,
        serde_json::json!({
            "version": 1, "action": "deliver", "target": "orders-cache", "generation": 7, "rotation": rotation.to_string(),
            "account": "root", "password": SPECIAL, "user": null, "login_password": format!("app@{SPECIAL}"),
            "host": "10.0.0.12", "port": 6379, "tls": false, "url": url.as_str(),
        })
    );
}

#[tokio::test]
async fn the_bare_password_comes_alone() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let script = format!("[ $KEYWHEEL_ACCOUNT/$KEYWHEEL_GENERATION = root/3 ] && cat > {}", copy.display());
    sink(&script, serde_json::json!({ "stdin": "password" })).deliver(&document(3, SPECIAL)).await.unwrap();
    assert_eq!(std::fs::read(&copy).unwrap(), SPECIAL.as_bytes());
}

#[tokio::test]
async fn the_password_is_in_no_argument_and_no_variable() {
    let script = "tr '\\0' '\\n' < /proc/$$/cmdline; tr '\\0' '\\n' < /proc/$$/environ; exit 1";
    let sink = sink(script, serde_json::json!({}));
    let ended = sink.program.run(written(&"x"), &[], &[]).await.unwrap();
    assert!(ended.output.contains("PATH="), "the script does look: {}", ended.output);
    let fault = sink.deliver(&document(1, "hunter2")).await.unwrap_err();
    assert!(!fault.what.contains("[secret]"), "{fault}");
    assert!(!fault.what.contains("hunter2"), "{fault}");
}

#[tokio::test]
async fn exit_statuses_have_their_verdicts() {
    for (script, kind) in [
        ("exit 20", Kind::SinkNewer),
        ("exit 77", Kind::SinkDenied),
        ("exit 1", Kind::SinkUnavailable),
        ("kill -9 $$", Kind::SinkUnavailable),
        ("sleep 600", Kind::SinkUnavailable),
    ] {
        let sink = sink(script, serde_json::json!({ "timeout": "500ms" }));
        let fault = sink.deliver(&document(1, "p")).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{script}: {fault}");
    }
}

#[tokio::test]
async fn an_echoed_password_is_scrubbed_in_every_likely_shape() {
    let fault = sink("cat >&2; exit 1", serde_json::json!({})).deliver(&document(1, "pa\"ss\\%w")).await.unwrap_err();
    assert!(fault.what.contains("[secret]"), "{fault}");
    for shape in ["pa\"ss", "pa\\\"ss", "pa%22ss"] {
        assert!(!fault.what.contains(shape), "{fault}");
    }
}

#[tokio::test]
async fn ready_asks_only_where_the_program_understands_the_question() {
    let target = "orders-cache".parse().unwrap();
    let asked = "grep -q '\"action\":\"ready\",\"target\":\"orders-cache\"}' || exit 77";
    sink(asked, serde_json::json!({ "check": true })).ready(&target).await.unwrap();
    sink("exit 1", serde_json::json!({})).ready(&target).await.unwrap();
    let fault = sink("echo no token; exit 77", serde_json::json!({ "check": true })).ready(&target).await.unwrap_err();
    assert_eq!(fault.kind, Kind::SinkDenied);
    assert!(fault.what.contains("no token"), "{fault}");
    let settings = serde_json::from_value(serde_json::json!({ "argv": ["/no/such/program"] })).unwrap();
    let fault = CommandSink::new(settings).unwrap().ready(&target).await.unwrap_err();
    assert_eq!(fault.kind, Kind::SinkDenied);
}

/// A sink whose programs keep what they are given in a file.
fn keeper(copy: &std::path::Path, stdin: &str) -> CommandSink {
    let copy = copy.display();
    let read = format!("[ $KEYWHEEL_TARGET = orders-cache ] && [ ! -e {copy} ] || cat {copy}");
    sink(&format!("cat > {copy}"), serde_json::json!({ "stdin": stdin, "read": ["/bin/sh", "-c", read] }))
}

fn bare(held: Option<Held>) -> Option<String> {
    held.map(|held| match held {
        Held::Bare(password) => password.expose().to_owned(),
        Held::AsSent(_) => panic!("a program says the bare password"),
    })
}

#[tokio::test]
async fn what_the_program_stored_is_read_back_and_compared() {
    for stdin in ["json", "password"] {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        let sink = keeper(&copy, stdin);
        let mut second = document(2, SPECIAL);
        second.login_password = Secret::new(format!("app@{SPECIAL}"));
        assert_eq!(bare(sink.read_back(&second.target).await.unwrap()), None);
        assert_eq!(sink.holds(&second).await.unwrap(), Holds::Absent);
        sink.deliver(&second).await.unwrap();
        assert_eq!(bare(sink.read_back(&second.target).await.unwrap()).as_deref(), Some(SPECIAL));
        assert_eq!(sink.holds(&second).await.unwrap(), Holds::Same);
        let mut others = vec![document(2, "another")];
        if stdin == "json" {
            others.push(Document { generation: crate::name::Generation(3), ..second.clone() });
            others.push(Document { login_user: Some("app".to_owned()), ..second.clone() });
            others.push(Document { login_password: second.password.clone(), ..second.clone() });
        }
        for other in others {
            assert_eq!(sink.holds(&other).await.unwrap(), Holds::Other, "{stdin}");
        }
        std::fs::write(&copy, [std::fs::read(&copy).unwrap(), b"\r\n".to_vec()].concat()).unwrap();
        assert_eq!(sink.holds(&second).await.unwrap(), Holds::Same, "one line end more");
    }
    let mute = sink("exit 0", serde_json::json!({}));
    assert_eq!(mute.holds(&document(1, "p")).await.unwrap(), Holds::CannotTell);
    let fault = mute.read_back(&document(1, "p").target).await.unwrap_err();
    assert!(fault.kind == Kind::Unsupported && fault.next_step.contains("read = ["), "{fault}");
}

#[tokio::test]
async fn an_answer_in_another_form_is_refused_without_a_word_of_it() {
    for (stdin, script, kind, said) in [
        ("json", "printf 'hunter2'", Kind::SecretUnreadable, "printed no JSON (line 1 column 1)"),
        ("json", "printf '\"hunter2\"'", Kind::SecretUnreadable, "no object with a text"),
        ("json", "printf '{\"password\":\"hunter2\",\"generation\":\"1\"}'", Kind::SecretUnreadable, "no object"),
        ("json", "printf '{\"password\":\"\"}'", Kind::SecretUnreadable, "an empty password"),
        ("json", "printf '{\"password\":\"hunter2\",\"target\":\"x\"}'", Kind::SinkDenied, "another target's"),
        ("password", "printf 'a\\nhunter2'", Kind::SecretUnreadable, "several lines"),
        ("password", "printf 'hunter2\\377'", Kind::SecretUnreadable, "not UTF-8"),
        ("password", "head -c 70000 /dev/zero", Kind::SinkUnavailable, "more than 65536 bytes"),
        ("password", "printf hunter2; exit 1", Kind::SinkUnavailable, "ended with status 1"),
        ("password", "echo sealed >&2; exit 77", Kind::SinkDenied, "said: sealed"),
        ("password", "sleep 600", Kind::SinkUnavailable, "did not end within 500ms"),
    ] {
        let read = serde_json::json!({ "stdin": stdin, "read": ["/bin/sh", "-c", script], "timeout": "500ms" });
        let fault = sink("exit 0", read).read_back(&document(1, "p").target).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{script}: {fault}");
        assert!(fault.what.contains(said) && !fault.to_string().contains("hunter"), "{script}: {fault}");
    }
    // The question comes on standard input, and only where the program expects JSON.
    let asked = "{\"version\":1,\"action\":\"read\",\"target\":\"orders-cache\"}";
    for (stdin, expected) in [("json", format!("{asked}\n")), ("password", String::new())] {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        let script = format!("cat > {}", copy.display());
        let read = serde_json::json!({ "stdin": stdin, "read": ["/bin/sh", "-c", script] });
        assert!(sink("exit 0", read).read_back(&document(1, "p").target).await.unwrap().is_none());
        assert_eq!(std::fs::read_to_string(&copy).unwrap(), expected);
    }
}

#[test]
fn settings_that_cannot_work_are_refused_with_every_finding() {
    let settings = serde_json::json!({ "argv": ["tool"], "stdin": "password", "check": true, "timeout": "0s" });
    let findings = CommandSink::new(serde_json::from_value(settings).unwrap()).unwrap_err();
    assert_eq!(findings.len(), 3, "{findings:?}");
    let settings = serde_json::json!({ "argv": ["/bin/true"], "read": ["tool"] });
    let findings = CommandSink::new(serde_json::from_value(settings).unwrap()).unwrap_err();
    assert_eq!(findings.len(), 1, "{findings:?}");
}

/// A sink whose programs keep what they are given, under names of the owner's choice.
#[tokio::test]
async fn fields_choose_what_the_program_is_given_and_what_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy").display().to_string();
    let fields = serde_json::json!({ "password": "secret", "user": "login", "url": "uri" });
    let read = format!("cat {copy}");
    let more = serde_json::json!({ "fields": fields, "read": ["/bin/sh", "-c", read] });
    let sink = sink(&format!("cat > {copy}"), more);
    let mut document = document(7, SPECIAL);
    document.login_user = Some("app".to_owned());
    sink.deliver(&document).await.unwrap();
    let heard: serde_json::Value = serde_json::from_slice(&std::fs::read(&copy).unwrap()).unwrap();
    let url = connection_url(&document).unwrap();
    assert_eq!(
        heard,
        serde_json::json!({
            "version": 1, "action": "deliver", "target": "orders-cache", "generation": 7, "rotation": null,
            "secret": SPECIAL, "login": "app", "uri": url.as_str(),
        })
    );
    assert_eq!(bare(sink.read_back(&document.target).await.unwrap()).as_deref(), Some(SPECIAL));
    assert_eq!(sink.holds(&document).await.unwrap(), Holds::Same);
    document.login_user = None;
    assert_eq!(sink.holds(&document).await.unwrap(), Holds::Other);
    // What stands under the usual name is not the password here.
    for other in [r#"{"password": "x"}"#, r#"{"secret": 7}"#, r#"{"secret": "a", "secret": "b"}"#, "[]"] {
        std::fs::write(&copy, other).unwrap();
        let fault = sink.read_back(&document.target).await.unwrap_err();
        assert_eq!(fault.kind, Kind::SecretUnreadable, "{other}");
        assert!(fault.what.contains("\"secret\""), "{fault}");
    }
}

#[test]
fn fields_that_make_no_sense_are_refused() {
    for (more, said) in [
        (serde_json::json!({ "fields": { "password": "p" }, "stdin": "password" }), "bare password"),
        (serde_json::json!({ "fields": { "password": "target" } }), "something else"),
        (serde_json::json!({ "fields": { "bare_password": "p" } }), "no document has"),
        (serde_json::json!({ "fields": { "url": "u" }, "read": ["/bin/true"] }), "read needs"),
    ] {
        let mut settings = serde_json::json!({ "argv": ["/bin/true"] });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let wrong = CommandSink::new(serde_json::from_value(settings).unwrap()).unwrap_err();
        assert!(wrong.iter().any(|fault| fault.what.contains(said)), "{wrong:?}");
    }
}
