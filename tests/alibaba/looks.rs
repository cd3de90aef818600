//! What changes nothing: looking at the instance and its account, and `check`.

use super::*;
use keywheel::name::TaskId;
use keywheel::provider::Condition;

fn accounts(status: &str) -> String {
    format!(
        r#"{{"RequestId":"r","Accounts":{{"Account":[{{"AccountName":"app","AccountStatus":"{status}","AccountType":"Normal","InstanceId":"r-1"}}]}}}}"#
    )
}

const NO_ACCOUNTS: &str = r#"{"RequestId":"r","Accounts":{"Account":[]}}"#;

#[tokio::test]
async fn an_instance_is_looked_at_before_its_account() {
    let busy = || Ok(Condition::Busy("a change of this account is under way".to_owned()));
    let normal = || reply(&instance("Normal", "Open"));
    let rows = [
        ("app", vec![normal(), reply(&accounts("Available"))], Ok(Condition::Ready)),
        ("app", vec![normal(), reply(&accounts("Unavailable"))], busy()),
        ("app", vec![normal(), reply(NO_ACCOUNTS)], Err(Kind::NotFound)),
        ("r-1", vec![normal(), reply(NO_ACCOUNTS)], Ok(Condition::Ready)),
        ("app", vec![normal(), error(403, "Forbidden.RAM")], Ok(Condition::Ready)),
        ("app", vec![normal(), error(503, "ServiceUnavailable")], Err(Kind::Unanswered)),
        ("app", vec![reply(&instance("Normal", "Close"))], Ok(Condition::PasswordFree)),
        ("app", vec![error(404, "InvalidInstanceId.NotFound")], Err(Kind::NotFound)),
        ("app", vec![reply(r#"{"RequestId":"r","Instances":{"DBInstanceAttribute":[]}}"#)], Err(Kind::NotFound)),
        ("app", vec![reply(r#"{"RequestId":"r"}"#)], Err(Kind::Unanswered)),
    ];
    for (account, steps, expected) in rows {
        let asked = steps.len();
        let (server, provider) = scripted(steps).await;
        let got = provider.inspect(&address(account)).await;
        assert_eq!(got.map(|instance| instance.condition).map_err(|fault| fault.kind), expected);
        assert_eq!(server.seen().len(), asked);
        assert_eq!(server.seen()[0].body, "InstanceId=r-1");
    }
}

#[tokio::test]
async fn there_is_no_evidence_but_a_login() {
    let (server, provider) = scripted(vec![]).await;
    let (from, to) = (Moment::from_seconds(0), Moment::from_seconds(NEW_YEAR));
    assert!(provider.task(&address("app"), TaskId(7)).await.is_err());
    assert!(provider.find_task(&address("app"), from, to).await.is_err());
    assert_eq!(provider.change_mark(&address("app")).await, Ok(None));
    let abilities = provider.abilities(&address("app"));
    assert!(!abilities.task_status && !abilities.task_list && !abilities.change_mark);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn check_reports_every_finding_at_once() {
    let late =
        |status: u16, body: String| Step::Reply(status, "Date: Wed, 01 Jan 2025 00:16:00 GMT\r\n".to_owned(), body);
    let healthy = |first: Step| vec![first, reply(ACCOUNTS)];
    let denied = || error(403, "Forbidden.RAM");
    let stale = || late(400, error_body("InvalidTimeStamp.Expired", ""));
    let rows = [
        ("all well", healthy(reply(&instance("Normal", "Open"))), vec![]),
        ("password-free", healthy(reply(&instance("Normal", "Close"))), vec![Kind::PasswordFree]),
        ("released", healthy(reply(&instance("Released", "Open"))), vec![Kind::Gone]),
        ("busy", healthy(reply(&instance("Flushing", "Open"))), vec![Kind::Busy]),
        ("clock", healthy(late(200, instance("Normal", "Open"))), vec![Kind::ClockSkew]),
        ("clock refused", vec![stale(), stale()], vec![Kind::ClockSkew]),
        ("bad key", vec![error(404, "InvalidAccessKeyId.NotFound")], vec![Kind::CredentialRefused]),
        ("bad signature", vec![error(400, "SignatureDoesNotMatch")], vec![Kind::CredentialRefused]),
        ("not found", healthy(error(404, "InvalidInstanceId.NotFound")), vec![Kind::NotFound]),
        ("denied", vec![denied(), denied()], vec![Kind::Denied, Kind::Denied]),
        ("no account", vec![reply(&instance("Normal", "Open")), reply(NO_ACCOUNTS)], vec![Kind::NotFound]),
    ];
    for (name, steps, expected) in rows {
        let (server, provider) = scripted(steps).await;
        let findings = provider.check(&address("app")).await;
        let kinds: Vec<Kind> = findings.iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds, expected, "{name}: {findings:?}");
        let asked = actions(&server);
        assert!(asked.iter().all(|action| action.starts_with("describe")), "{asked:?}");
    }
}
