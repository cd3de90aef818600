//! The instances that carry tags (vendor document "DescribeInstances").

use super::{Tencent, wire};
use crate::fault::Fault;
use crate::provider::listing::{Pages, advised, shown_name};
use crate::provider::outcome::Failed;
use crate::provider::{Condition, Found};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OfTags<'a> {
    instance_tags: &'a [TagRow],
    limit: usize,
    offset: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagRow {
    tag_key: String,
    tag_value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    total_count: usize,
    instance_set: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(flatten)]
    instance: wire::InstanceRow,
    instance_name: Option<String>,
    /// Despite its name the private address.
    wan_ip: Option<String>,
    port: Option<u16>,
    instance_tags: Option<Vec<TagRow>>,
}

impl Tencent {
    /// Every instance of the region that carries all of these tags.
    pub(super) async fn tagged(&self, tags: &BTreeMap<String, String>) -> Result<Vec<Found>, Fault> {
        let wanted: Vec<TagRow> =
            tags.iter().map(|(key, value)| TagRow { tag_key: key.clone(), tag_value: value.clone() }).collect();
        let mut pages = Pages::of("Tencent DescribeInstances");
        loop {
            let request = OfTags { instance_tags: &wanted, limit: wire::PAGE, offset: pages.read() * wire::PAGE };
            let page: Result<Page, Failed> = self.read("DescribeInstances", &request).await;
            let page = page.map_err(|failed| advised(failed.fault(), "redis:DescribeInstances"))?;
            if pages.take(page.instance_set.into_iter().map(Row::found).collect(), page.total_count)? {
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
        let host = self.wan_ip.filter(|host| !host.is_empty());
        let tags = self.instance_tags.unwrap_or_default();
        Found {
            instance: self.instance.instance_id,
            name: shown_name(&self.instance_name.unwrap_or_default()),
            endpoint: host.zip(self.port),
            tags: tags.into_iter().map(|tag| (tag.tag_key, tag.tag_value)).collect(),
            unfit,
        }
    }
}
