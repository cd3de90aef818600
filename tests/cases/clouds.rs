//! Both clouds: each strategy and mode, each fault that the stand-in can play.

use crate::case::{KILLS, SINK, TARGET, document, kept, logged, rotate, settles, until_told};
use crate::common::stage::{Daemon, INITIAL, INSTANCE, SECRET_ID, SECRET_KEY, Stage, until};
use crate::table::{self, Row};
use keywheel::secret::Secret;
use keywheel::simulator::{
    AccountSettings, Credential, Fault, Garbage, InstanceSettings, Quota, Settings, Step, TaskSettings,
};
use std::time::Duration;

const TAIR: &str = "r-bp1cases0001";
const FIRST: (&str, &str) = ("orders_a", "First-One-2020");
const SECOND: (&str, &str) = ("orders_b", "Second-One-2020");

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One provider, strategy and mode.
struct Case {
    name: &'static str,
    tencent: bool,
    /// The call that changes a password here.
    action: &'static str,
    /// The account whose password changes first; `None` is the vendor's default account.
    account: Option<(&'static str, &'static str)>,
    /// The account that must stay as it is: the active one of a pair.
    untouched: Option<(&'static str, &'static str)>,
    keys: &'static str,
}

const PAIR: &str = "strategy = \"alternate\"\naccounts = [\"orders_a\", \"orders_b\"]\nadopt = { file = \"{folder}/first\" }\n\
                    adopt-resting = { file = \"{folder}/second\" }\ngrace = \"1ms\"";
const OLD_OF_ROOT: &str = "adopt = { file = \"{folder}/initial\" }";
const RESET_OF_ROOT: &str = "mode = \"reset\"\nadopt = { file = \"{folder}/initial\" }";
const EDIT_OF_ROOT: &str = "mode = \"account\"\nadopt = { file = \"{folder}/initial\" }";
const OF_FIRST: &str = "account = \"orders_a\"\nadopt = { file = \"{folder}/first\" }";
const RESET_OF_FIRST: &str = "account = \"orders_a\"\nmode = \"reset\"\nadopt = { file = \"{folder}/first\" }";
const RESET_PAIR: &str = "mode = \"reset\"\nstrategy = \"alternate\"\naccounts = [\"orders_a\", \"orders_b\"]\nadopt = { file = \"{folder}/first\" }\n\
                          adopt-resting = { file = \"{folder}/second\" }\ngrace = \"1ms\"";

macro_rules! cases {
    ($($test:ident: $name:literal, $tencent:literal, $action:literal, $account:expr, $untouched:expr, $keys:expr;)*) => {$(
        #[test]
        fn $test() {
            Case { name: $name, tencent: $tencent, action: $action, account: $account, untouched: $untouched, keys: $keys }.run();
        }
    )*};
}

cases! {
    tencent_in_place: "tencent in-place old-password root", true, "ModifyInstancePassword", None, None, OLD_OF_ROOT;
    tencent_reset: "tencent in-place reset root", true, "ResetPassword", None, None, RESET_OF_ROOT;
    tencent_edit: "tencent in-place account root", true, "ModifyInstanceAccount", None, None, EDIT_OF_ROOT;
    tencent_account: "tencent in-place account custom", true, "ModifyInstanceAccount", Some(FIRST), None, OF_FIRST;
    tencent_alternate: "tencent alternate account custom", true, "ModifyInstanceAccount", Some(SECOND), Some(FIRST), PAIR;
    alibaba_default: "alibaba in-place old-password default", false, "ModifyAccountPassword", None, None, OLD_OF_ROOT;
    alibaba_standard: "alibaba in-place old-password standard", false, "ModifyAccountPassword", Some(FIRST), None, OF_FIRST;
    alibaba_reset_default: "alibaba in-place reset default", false, "ModifyInstanceAttribute", None, None, RESET_OF_ROOT;
    alibaba_reset_standard: "alibaba in-place reset standard", false, "ResetAccountPassword", Some(FIRST), None, RESET_OF_FIRST;
    alibaba_alternate: "alibaba alternate old-password standard", false, "ModifyAccountPassword", Some(SECOND), Some(FIRST), PAIR;
    alibaba_alternate_reset: "alibaba alternate reset standard", false, "ResetAccountPassword", Some(SECOND), Some(FIRST), RESET_PAIR;
}

/// What goes wrong with the change's call.
fn faults(tencent: bool) -> Vec<(&'static str, Option<Fault>)> {
    let garbage = |applied| Some(Fault::Garbage { shape: Garbage::NotJson, applied });
    let mut all = vec![
        ("nothing goes wrong", None),
        ("applied, then no answer", Some(Fault::ApplyThenDropConnection { after_bytes: 0 })),
        ("applied, then half an answer", Some(Fault::ApplyThenDropConnection { after_bytes: 12 })),
        ("applied, then 502", Some(Fault::ApplyThenStatus { status: 502 })),
        ("applied, then garbage", garbage(true)),
        ("garbage, not applied", garbage(false)),
        ("dropped, not applied", Some(Fault::DropBeforeEffect)),
        ("applied late", Some(Fault::ApplyLate { delay: millis(400) })),
        ("applied later than it is waited for", Some(Fault::ApplyLate { delay: millis(2_600) })),
        ("never answered, applied", Some(Fault::NeverAnswer { applied: true })),
        ("never answered, not applied", Some(Fault::NeverAnswer { applied: false })),
        ("locked", Some(Fault::LockFor { span: millis(600) })),
        ("one request too many", Some(Fault::Throttle)),
        ("an answer of 100 MB, applied", Some(Fault::HugeBody { applied: true })),
    ];
    if tencent {
        all.extend([
            ("the task fails before it applies", Some(Fault::TaskFailsBeforeApplying)),
            ("the task fails after it applied", Some(Fault::TaskFailsAfterApplying)),
            ("the task is stuck for a while", Some(Fault::TaskStuck { span: Some(millis(700)) })),
            ("refused with an unclear code", Some(refuse("FailedOperation.SystemError"))),
        ]);
    } else {
        all.extend([
            ("refused with an unclear code", Some(refuse("InternalError"))),
            ("refused: another task runs", Some(refuse("TaskExists"))),
        ]);
    }
    all
}

fn refuse(code: &str) -> Fault {
    Fault::RefuseBeforeEffect { code: code.to_owned() }
}

impl Case {
    fn run(&self) {
        let mut rows: Vec<Row<'_>> = Vec::new();
        for (name, fault) in faults(self.tencent) {
            rows.push((name.to_owned(), Box::new(move || self.meet(fault.clone()))));
        }
        for event in KILLS {
            rows.push((format!("kill -9 at {event:?}"), Box::new(move || self.die(event))));
        }
        rows.push(("kill -9 while an applied call is out".to_owned(), Box::new(|| self.die_in_the_call())));
        table::run(self.name, &rows);
    }

    /// A cloud, a configuration, and a daemon that has taken everything in.
    fn stage(&self) -> (Stage, Daemon) {
        let account = |(name, password)| AccountSettings::new(name, password);
        let instance = match self.tencent {
            true => InstanceSettings {
                accounts: vec![account(FIRST), account(SECOND)],
                ..InstanceSettings::new(INSTANCE, INITIAL)
            },
            false => {
                InstanceSettings::alibaba(TAIR, INITIAL).with_account(FIRST.0, FIRST.1).with_account(SECOND.0, SECOND.1)
            }
        };
        let stage = Stage::set_in(Settings {
            credentials: vec![Credential {
                secret_id: SECRET_ID.to_owned(),
                secret_key: Secret::new(SECRET_KEY.to_owned()),
                token: None,
            }],
            instances: vec![instance],
            task: TaskSettings { shortest: millis(50), longest: millis(150) },
            quota: Quota { per_second: 0.0, burst: 0.0 },
            ..Settings::default()
        });
        stage.write("first", FIRST.1);
        stage.write("second", SECOND.1);
        let (kind, region, id, key) = match self.tencent {
            true => ("tencent", "ap-guangzhou", "secret-id", "secret-key"),
            false => ("alibaba", "cn-hangzhou", "access-key-id", "access-key-secret"),
        };
        let provider = format!(
            "[providers.cloud]\nkind = \"{kind}\"\nregion = \"{region}\"\nendpoint = \"{}\"\ntimeout = \"1s\"\nquota = 1000\ncredentials = {{ source = \"static\", \
             {id} = {{ file = \"{{folder}}/secret-id\" }}, {key} = {{ file = \"{{folder}}/secret-key\" }} }}\n\n",
            stage.cloud().endpoint()
        );
        let target = format!(
            "[targets.{TARGET}]\nprovider = \"cloud\"\ninstance = \"{}\"\nlogin = \"redis://{}\"\nsinks = [\"{SINK}\"]\n{}\n",
            self.instance(),
            stage.cloud().login_address(self.instance()).unwrap(),
            self.keys
        );
        stage.configure(&[provider, stage.sink(SINK, "format = \"json\""), target].concat());
        let checked = stage.keywheel(&["check"]);
        assert_eq!(checked.status, 0, "{}: {}{}", self.name, checked.out, checked.err);
        let daemon = stage.start(&[]);
        stage.until(TARGET, "settled", 1);
        until("the sink to hold it", || stage.path(SINK).exists());
        if self.untouched.is_some() {
            until_told(&daemon, 0, "paired");
        }
        (stage, daemon)
    }

    fn instance(&self) -> &'static str {
        if self.tencent { INSTANCE } else { TAIR }
    }

    /// The generation of the first rotation: a pair takes in two passwords before.
    fn first(&self) -> u64 {
        if self.untouched.is_some() { 3 } else { 2 }
    }

    /// Every password that the account which changes ever had.
    fn passwords(&self, stage: &Stage) -> Vec<String> {
        let applied = match self.account {
            None => stage.cloud().history(self.instance()),
            Some((account, _)) => stage.cloud().account_history(self.instance(), account),
        };
        applied.iter().map(|applied| applied.password.expose().to_owned()).collect()
    }

    fn meet(&self, fault: Option<Fault>) {
        let (stage, daemon) = self.stage();
        stage.cloud().script(fault.map(|fault| Step::once(self.action, fault)));
        rotate(&stage, &daemon);
        self.is_whole(&stage, self.first());
        rotate(&stage, &daemon);
    }

    /// Killed as soon as the log tells of this event; what may be live is in the ledger then, and the next daemon brings it to its end.
    fn die(&self, event: &str) {
        let (stage, daemon) = self.stage();
        let before = logged(&daemon);
        let asked = stage.keywheel(&["rotate", TARGET]);
        assert_eq!(asked.status, 0, "{}{}", asked.out, asked.err);
        until_told(&daemon, before, event);
        daemon.kill();
        self.recovers(&stage);
    }

    fn die_in_the_call(&self) {
        let (stage, daemon) = self.stage();
        stage.cloud().script([Step::once(self.action, Fault::NeverAnswer { applied: true })]);
        let asked = stage.keywheel(&["rotate", TARGET]);
        assert_eq!(asked.status, 0, "{}{}", asked.out, asked.err);
        until("the change to take effect", || self.passwords(&stage).len() > 1);
        daemon.kill();
        self.recovers(&stage);
    }

    fn recovers(&self, stage: &Stage) {
        let live = self.passwords(stage).pop().unwrap();
        assert!(kept(stage).contains(&live), "what is live is in the ledger");
        let daemon = stage.start(&[]);
        // Killed before anything was durable, it has nothing to go on with.
        until("it to come to rest", || stage.status_of(TARGET)["state"] == "settled");
        if stage.status_of(TARGET)["generation"] != self.first() {
            rotate(stage, &daemon);
        }
        self.is_whole(stage, self.first());
    }

    /// The account has the new password and no other, the sink holds it with the account's name, and the active account of a pair is as it was.
    fn is_whole(&self, stage: &Stage, generation: u64) {
        settles(stage, generation);
        let passwords = self.passwords(stage);
        let (live, old) = (passwords.last().unwrap(), &passwords[0]);
        assert_ne!(live, old);
        assert!(passwords[1..].iter().all(|password| password == live), "one new password, however often it was sent");
        let found = document(stage);
        assert!(found["password"].as_str().unwrap().ends_with(live.as_str()), "the sink holds what is live");
        assert_eq!(found["generation"], generation);
        if let Some((account, _)) = self.account {
            assert_eq!(found["account"], account);
            assert!(stage.cloud().account_accepts(self.instance(), account, live));
            assert!(!stage.cloud().account_accepts(self.instance(), account, old));
        }
        if let Some((account, password)) = self.untouched {
            assert!(
                stage.cloud().account_accepts(self.instance(), account, password),
                "the active account is untouched"
            );
        }
    }
}
