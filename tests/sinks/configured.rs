//! The way from lines in the configuration to a sink that is read.

use keywheel::config::PasswordRef;
use keywheel::fault::Fault;
use keywheel::name::TargetName;
use keywheel::secret::Secret;
use std::path::Path;

/// What a target named `orders-cache` reads back from a sink with these lines.
pub async fn read(folder: &Path, lines: &str) -> Result<Secret, Fault> {
    let text = format!(
        r#"
        [daemon]
        ledger = "sqlite:///var/lib/keywheel/ledger.db"
        sealing-key = {{ file = "/etc/keywheel/sealing-key" }}
        [providers.shop]
        kind = "tencent"
        region = "ap-guangzhou"
        credentials = {{ source = "environment" }}
        [sinks.store]
        {lines}
        [targets.orders-cache]
        provider = "shop"
        instance = "crs-1"
        adopt = {{ sink = "store" }}
        sinks = ["store"]
        "#
    );
    let path = folder.join("keywheel.toml");
    std::fs::write(&path, text).unwrap();
    let config = keywheel::config::load(&path, []).unwrap_or_else(|findings| panic!("{findings}")).config;
    let target: TargetName = "orders-cache".parse().unwrap();
    keywheel::assemble::password_from(&config, &target, &PasswordRef::Sink("store".parse().unwrap())).await
}
