//! What Parameter Store does that moto does not, and what happens between two of a sink's calls.

use super::super::rows::left_in_the_middle;
use super::super::stand_in::{Answer, Asked, Service, StandIn};
use super::server::Server;
use super::*;
use keywheel::fault::Kind;

pub async fn what_a_delivery_covered_is_put_right_though_nobody_waits_for_it_any_more(server: &'static Server) {
    let account = Account::<Parameter>::at(Some(server), Parameter::SHOWS);
    left_in_the_middle(&account, |held| account.proxy.as_ref().unwrap().hold(held)).await;
}

/// The rehearsal of a write is a write where the parameter was deleted after the look. Readers then see what they saw before.
pub async fn one_that_is_deleted_while_readiness_looks_is_as_it_was(server: &'static Server) {
    let account = Account::<Parameter>::at(Some(server), ("PutParameter", r#""Overwrite":false"#));
    let sink = account.sink(false);
    sink.deliver(&document(7)).await.unwrap();
    let (shown, place) = (account.seen().await, account.place.clone());
    account.proxy.as_ref().unwrap().before_the_next_write(move || Parameter::remove(server, &place));
    sink.ready(&"orders-cache".parse().unwrap()).await.unwrap();
    assert_eq!((account.seen().await, account.mark().await), (shown, "1".to_owned()), "made anew, with what was there");
    // It still says which generation it is.
    assert_eq!(sink.deliver(&document(6)).await.unwrap_err().kind, Kind::SinkNewer);
    sink.deliver(&document(7)).await.unwrap();
    assert_eq!(account.mark().await, "1");
}

/// A history whose pages have one version each, whatever was asked for.
struct ShortPages {
    versions: u64,
    /// Whether the last page has a token, too.
    endless: bool,
}

impl Service for ShortPages {
    fn answer(&self, asked: &Asked) -> Answer {
        assert_eq!(asked.header("x-amz-target"), Some("AmazonSSM.GetParameterHistory"), "a look shows enough");
        let question: Value = serde_json::from_slice(&asked.body).unwrap();
        let version = question["NextToken"].as_str().map_or(1, |token| token.parse::<u64>().unwrap());
        let description = format!("keywheel: target orders-cache, generation {version}, document 0123456789ab");
        let about =
            json!({ "Version": version, "Type": "SecureString", "Value": "sealed", "Description": description });
        let more = self.endless || version < self.versions;
        Answer::json(200, &json!({ "Parameters": [about], "NextToken": more.then(|| (version + 1).to_string()) }))
    }

    fn writes(&self, _asked: &Asked) -> bool {
        false
    }

    fn between(&self, _generation: u64) {}

    fn turn_away(&self, _trouble: Trouble, _asked: &Asked) -> Answer {
        Answer::empty(500)
    }
}

/// A page may have less than it was asked for, and the newest versions stand on the last one.
#[tokio::test]
async fn the_newest_version_is_found_behind_short_pages() {
    let none = || Source::Static { id: says("AKIAEXAMPLE"), key: says("unused"), token: None };
    for (endless, kind, said) in [(false, Kind::SinkNewer, "generation 40"), (true, Kind::SinkUnavailable, "no end")] {
        let store = StandIn::start(ShortPages { versions: 40, endless }).await;
        let reach = Reach {
            region: REGION.to_owned(),
            endpoint: Some(store.url().parse().unwrap()),
            source: none(),
            sts_endpoint: None,
            metadata_endpoint: None,
            timeout: Duration::from_secs(30),
            ca_file: None,
            now: Arc::new(|| SystemClock.now()),
        };
        let sink = Parameter::sink(reach, "conformance/pages");
        let fault = sink.deliver(&document(39)).await.unwrap_err();
        assert!(fault.kind == kind && fault.what.contains(said), "{fault}");
    }
}
