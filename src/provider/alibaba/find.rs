//! The instances that carry tags (vendor document "DescribeInstances").

use super::Alibaba;
use super::wire::{self, Request};
use crate::fault::Fault;
use crate::provider::listing::{Pages, advised, shown_name};
use crate::provider::{Condition, Found};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Instances in one page (vendor's maximum).
const PAGE: &str = "50";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    total_count: usize,
    instances: Rows,
}

#[derive(Deserialize)]
struct Rows {
    #[serde(rename = "KVStoreInstance")]
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(flatten)]
    instance: wire::InstanceRow,
    instance_name: Option<String>,
    instance_type: Option<String>,
    connection_domain: Option<String>,
    port: Option<u16>,
    tags: Option<Tags>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tags {
    #[serde(default)]
    tag: Vec<TagRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagRow {
    key: String,
    #[serde(default)]
    value: String,
}

impl Alibaba {
    /// Every instance of the region that carries all of these tags.
    pub(super) async fn tagged(&self, tags: &BTreeMap<String, String>) -> Result<Vec<Found>, Fault> {
        let wanted: Vec<(String, String)> = tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let mut pages = Pages::of("Alibaba DescribeInstances");
        loop {
            let number = (pages.read() + 1).to_string();
            let request = Request::DescribeInstances { region: &self.region, tags: &wanted, page: &number, size: PAGE };
            let page = self.read(request).await;
            let page: Page = page.map_err(|failed| advised(failed.fault(), "kvstore:DescribeInstances"))?;
            if pages.take(page.instances.rows.into_iter().map(Row::found).collect(), page.total_count)? {
                return pages.carrying(tags);
            }
        }
    }
}

impl Row {
    fn found(self) -> Found {
        let unfit = match self.instance.condition() {
            Condition::Gone(why) | Condition::Unsupported(why) => Some(why),
            Condition::Ready | Condition::Busy(_) | Condition::PasswordFree => None,
        };
        // The listing shows Memcache instances of old beside the Redis ones.
        let memcache = self.instance_type.is_some_and(|kind| kind.eq_ignore_ascii_case("memcache"));
        let host = self.connection_domain.filter(|host| !host.is_empty());
        let tags = self.tags.unwrap_or_default().tag;
        Found {
            name: shown_name(&self.instance_name.unwrap_or_default()),
            endpoint: host.zip(self.port),
            tags: tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
            unfit: unfit.or_else(|| memcache.then(|| "a Memcache instance has no Redis password".to_owned())),
            instance: self.instance.instance_id,
        }
    }
}
