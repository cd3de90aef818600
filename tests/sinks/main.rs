//! One suite for every kind of sink: what the trait promises, and what happens when the store behind it fails, one row each. A kind of sink joins with
//! one file that implements [`conformance::Store`] and one line in the list below. The table that is printed says what was tried on which.

#![cfg(feature = "simulator")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

#[cfg(feature = "age")]
mod age;
#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "azure")]
mod azure;
#[cfg(feature = "azure")]
mod azure_stand_in;
mod clients;
mod clouds;
mod command;
#[cfg(any(feature = "gcp", feature = "azure"))]
mod configured;
mod conformance;
mod directory;
mod envelope;
mod etcd;
mod file;
#[cfg(feature = "gcp")]
mod gcp;
#[cfg(feature = "gcp")]
mod gcp_stand_in;
mod http;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod proxy;
mod rows;
mod stand_in;
mod systemd_credential;
#[path = "../common/traces.rs"]
mod traces;
mod vault;
mod vault_stand_in;
mod webhook;

use conformance::{Cell, Column, column};

#[test]
fn every_sink_does_its_duties_whatever_its_store_does() {
    conformance::listen();
    let begun: &[fn() -> Column] = &[
        column::<file::Disk>,
        column::<directory::Swapped>,
        column::<command::Script>,
        column::<http::Remote>,
        column::<vault::Kv>,
        column::<clouds::Cloud<clouds::Ssm>>,
        column::<clouds::Cloud<clouds::Kms>>,
        column::<etcd::Key>,
        #[cfg(feature = "aws")]
        column::<aws::Account<aws::Secret>>,
        #[cfg(feature = "aws")]
        column::<aws::Account<aws::Parameter>>,
        #[cfg(feature = "age")]
        column::<age::Recipient>,
        column::<systemd_credential::Encrypted>,
        #[cfg(feature = "gcp")]
        column::<gcp::Versions>,
        #[cfg(feature = "azure")]
        column::<azure::Vault>,
        #[cfg(feature = "kubernetes")]
        column::<kubernetes::InCluster>,
    ];
    let columns: Vec<Column> = begun
        .iter()
        .map(|column| std::thread::spawn(*column))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    conformance::print(&columns);
    let failed: Vec<String> = columns
        .iter()
        .flat_map(|column| column.cells.iter().map(move |(row, cell)| (column.name, row, cell)))
        .filter_map(|(name, row, cell)| match cell {
            Cell::Failed(why) => Some(format!("{name}: {}: {why}", row.words())),
            Cell::Kept | Cell::LeftOut(_) => None,
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let heard = conformance::heard();
    assert!(heard.len() > 1_000, "nothing was logged, so that nothing in it proves nothing");
    let found = traces::Traces::of(&rows::secrets()).found(&heard);
    assert!(found.is_none(), "a log line holds a secret: {found:?}");
}
