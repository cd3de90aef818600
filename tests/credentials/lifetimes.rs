//! What becomes of a temporary credential as time passes and as its service fails.

use crate::stage::{LIFE, Stage, VENDORS, Vendor, address, assume, credential, id};
use keywheel::fault::{Kind, Retry};
use keywheel::provider::credential::Source;
use keywheel::provider::credential::settings::{IdentitySettings, MetadataSettings, UriSettings};
use keywheel::simulator::{self, Change, Fault, Garbage, Step};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

fn machine(stage: &Stage, vendor: Vendor) -> Source {
    stage.sources(vendor).instance_role(MetadataSettings::default()).unwrap()
}

fn assumed(stage: &Stage, vendor: Vendor) -> Source {
    stage.set_variables(vendor.key_variables());
    let sources = stage.sources(vendor);
    sources.assume_role(sources.environment(), assume(vendor)).unwrap()
}

fn pod(stage: &Stage, vendor: Vendor) -> Source {
    stage.in_a_pod(vendor);
    stage.sources(vendor).oidc(IdentitySettings::default()).unwrap()
}

fn by_uri(stage: &Stage, vendor: Vendor) -> Source {
    stage.with_uri();
    stage.sources(vendor).credentials_uri(UriSettings::default()).unwrap()
}

/// A source, the action that renews it, and how many minutes after its issue the vendor's tools renew it.
type Row = (Vendor, fn(&Stage, Vendor) -> Source, &'static str, u64);

const WINDOWS: [Row; 7] = [
    (Vendor::Tencent, machine, "MetadataCredential", 6 * 60 - 5),
    (Vendor::Tencent, assumed, "AssumeRole", 12),
    (Vendor::Tencent, pod, "AssumeRoleWithWebIdentity", 108),
    (Vendor::Alibaba, machine, "MetadataCredential", 60),
    (Vendor::Alibaba, assumed, "AssumeRole", 45),
    (Vendor::Alibaba, pod, "AssumeRoleWithOIDC", 45),
    (Vendor::Alibaba, by_uri, "CredentialsUri", 6 * 60 - 15),
];

#[tokio::test]
async fn each_source_is_renewed_in_the_background_when_the_vendors_tools_do_it() {
    for (vendor, make, action, renewal) in WINDOWS {
        let stage = Stage::set().await;
        let source = make(&stage, vendor);
        let first = id(&source).await.unwrap();
        stage.advance(minutes(renewal) - Duration::from_secs(20)).await;
        for _ in 0..3 {
            assert_eq!(id(&source).await.unwrap(), first, "{vendor:?} {action}");
        }
        assert_eq!(stage.asked(action), 1, "{vendor:?} {action}");
        // Nobody asks the source meanwhile.
        stage.advance(Duration::from_secs(21)).await;
        stage.until_asked(action, 2).await;
    }
}

#[tokio::test]
async fn a_hundred_users_of_an_ended_credential_cause_one_renewal() {
    for (vendor, make, action, _) in WINDOWS {
        let stage = Stage::set().await;
        let source = make(&stage, vendor);
        let provider = stage.provider(vendor, Arc::clone(&source));
        let before = credential(&source).await;
        stage.advance(LIFE + minutes(1)).await;
        let users: Vec<_> = (0..100)
            .map(|_| {
                let provider = Arc::clone(&provider);
                tokio::spawn(async move { provider.inspect(&address(vendor)).await })
            })
            .collect();
        for user in users {
            user.await.unwrap().unwrap_or_else(|fault| panic!("{vendor:?} {action}: {fault}"));
        }
        assert_eq!(stage.asked(action), 2, "{vendor:?} {action}");
        assert_ne!(credential(&source).await.id, before.id);
    }
}

#[tokio::test]
async fn a_hundred_users_whom_the_cloud_refused_cause_one_renewal() {
    for vendor in VENDORS {
        let stage = Stage::set().await;
        let source = assumed(&stage, vendor);
        let provider = stage.provider(vendor, Arc::clone(&source));
        credential(&source).await;
        stage.cloud.change(Change { revoke_temporary: true, ..Change::default() }).await.unwrap();
        let users: Vec<_> = (0..100)
            .map(|_| {
                let provider = Arc::clone(&provider);
                tokio::spawn(async move { provider.inspect(&address(vendor)).await })
            })
            .collect();
        for user in users {
            user.await.unwrap().unwrap_or_else(|fault| panic!("{vendor:?}: {fault}"));
        }
        assert_eq!(stage.asked("AssumeRole"), 2, "{vendor:?}");
    }
}

#[tokio::test]
async fn a_refused_base_is_renewed_before_the_role_is_given_up() {
    for vendor in VENDORS {
        let stage = Stage::set().await;
        let sources = stage.sources(vendor);
        let base = machine(&stage, vendor);
        credential(&base).await;
        stage.cloud.change(Change { revoke_temporary: true, ..Change::default() }).await.unwrap();
        let role = sources.assume_role(base, assume(vendor)).unwrap();
        stage.opens(vendor, role).await.unwrap();
        assert_eq!(stage.asked("MetadataCredential"), 2);
    }
}

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The lines of this thread with these words.
    fn lines(&self, words: &str) -> usize {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        log.lines().filter(|line| line.contains(words) && line.contains(&thread)).count()
    }
}

#[tokio::test]
async fn while_the_service_fails_the_old_credential_is_used_until_it_ends() {
    let log = Log::default();
    let writer = log.clone();
    // For the whole process: a subscriber of one thread alone may miss what others met first. The thread's name tells the lines apart.
    let subscriber =
        tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).with_thread_names(true).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    for (vendor, make, action, _) in WINDOWS {
        let (warned, recovered) = (log.lines("could not be renewed"), log.lines("is renewed again"));
        let stage = Stage::set().await;
        let source = make(&stage, vendor);
        let provider = stage.provider(vendor, Arc::clone(&source));
        let first = credential(&source).await;
        stage.cloud.script([Step { times: 10_000, ..Step::once(action, Fault::ApplyThenStatus { status: 503 }) }]);
        let keywheel::provider::credential::Life::Until(ends) = first.life else { panic!("{action} gave no end") };
        // Just before the end, after several failures.
        let mut asked = 1;
        for left in [minutes(4), minutes(2), Duration::from_secs(5)] {
            let now = stage.surroundings().clock.now();
            stage.advance(ends.since(now) - left).await;
            asked += 1;
            stage.until_asked(action, asked).await;
            provider.inspect(&address(vendor)).await.unwrap_or_else(|fault| panic!("{vendor:?} {action}: {fault}"));
            assert_eq!(id(&source).await.unwrap(), first.id);
            asked = stage.asked(action);
        }
        stage.advance(Duration::from_secs(6)).await;
        let fault = provider.inspect(&address(vendor)).await.unwrap_err();
        assert!(fault.what.contains("ended at") && fault.what.contains("503"), "{vendor:?} {action}: {fault}");
        assert_ne!(fault.retry, Retry::Never, "{fault}");
        let again = provider.inspect(&address(vendor)).await.unwrap_err();
        assert!(matches!(again.retry, Retry::AfterMillis(_)), "{again:?}");
        // It comes back by itself, after at most a minute of back-off.
        clear_script(&stage).await;
        stage.advance(minutes(1)).await;
        provider.inspect(&address(vendor)).await.unwrap_or_else(|fault| panic!("{vendor:?} {action}: {fault}"));
        assert_eq!(log.lines("could not be renewed") - warned, 1, "{vendor:?} {action}: said once");
        assert_eq!(log.lines("is renewed again") - recovered, 1, "{vendor:?} {action}");
    }
}

/// Drops the steps still to come, as another process does it.
async fn clear_script(stage: &Stage) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(stage.cloud.address()).await.unwrap();
    let request = "DELETE /_simulator/script HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_role_that_disappears_is_told_once_its_credential_has_ended() {
    for vendor in VENDORS {
        let stage = Stage::set().await;
        let source = machine(&stage, vendor);
        let first = id(&source).await.unwrap();
        stage.change_metadata(simulator::MetadataSettings { life: LIFE, ..Default::default() }).await;
        stage.advance(LIFE - minutes(1)).await;
        stage.until_asked("MetadataRole", 2).await;
        assert_eq!(id(&source).await.unwrap(), first);
        stage.advance(minutes(2)).await;
        let fault = id(&source).await.unwrap_err();
        assert_eq!((fault.kind, fault.retry), (Kind::CredentialRefused, Retry::Never), "{fault}");
        assert!(fault.what.contains("ended at") && fault.what.contains("no role is bound"), "{fault}");
        // It comes back with the role.
        stage.change_metadata(simulator::MetadataSettings { role: Some("new".to_owned()), ..Default::default() }).await;
        stage.advance(minutes(1)).await;
        assert_ne!(id(&source).await.unwrap(), first);
    }
}

#[tokio::test]
async fn whatever_a_service_answers_is_a_sentence_and_passes() {
    let garbage = |shape| Fault::Garbage { shape, applied: true };
    let faults = || {
        vec![
            garbage(Garbage::NotJson),
            garbage(Garbage::NoEnvelope),
            garbage(Garbage::NoFields),
            garbage(Garbage::WrongTypes),
            garbage(Garbage::CutOff),
            garbage(Garbage::Empty),
            Fault::DropBeforeEffect,
            Fault::ApplyThenDropConnection { after_bytes: 20 },
            Fault::ApplyThenStatus { status: 502 },
            Fault::HugeBody { applied: true },
            Fault::EndlessBody { applied: true },
            Fault::Throttle,
        ]
    };
    for (vendor, make, action, _) in WINDOWS {
        for fault in faults() {
            let stage = Stage::set().await;
            let source = make(&stage, vendor);
            stage.cloud.script([Step::once(action, fault.clone())]);
            let told = id(&source).await.unwrap_err();
            assert_ne!(told.retry, Retry::Never, "{vendor:?} {action} {fault:?}: {told}");
            assert!(!told.to_string().contains("temporary-"), "{vendor:?} {action} {fault:?}: {told}");
            stage.advance(minutes(1)).await;
            stage.opens(vendor, source).await.unwrap_or_else(|fault| panic!("{vendor:?} {action}: {fault}"));
        }
    }
}

#[tokio::test]
async fn a_metadata_service_that_never_answers_is_waited_for_briefly() {
    let stage = Stage::set().await;
    stage.cloud.script([Step::once("MetadataRole", Fault::NeverAnswer { applied: false })]);
    let source = machine(&stage, Vendor::Tencent);
    let patience = Duration::from_secs(20);
    let fault = tokio::time::timeout(patience, id(&source)).await.unwrap().unwrap_err();
    assert!(fault.what.contains("timed out"), "{fault}");
    assert_ne!(fault.retry, Retry::Never);
}
