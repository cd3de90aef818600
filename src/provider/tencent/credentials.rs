//! Where Tencent Cloud's SecretId, SecretKey and session token come from.

use crate::provider::credential::{Environment, Terms, VariableNames, Variables};

/// What the vendor calls the parts.
pub const TERMS: Terms = Terms { vendor: "Tencent Cloud", id: "SecretId", key: "SecretKey", token: "session token" };

/// All SDKs agree on id and key. The token's name differs from tool to tool: CLI and Go SDK, Node SDK, Terraform.
const NAMES: VariableNames = VariableNames {
    id: "TENCENTCLOUD_SECRET_ID",
    key: "TENCENTCLOUD_SECRET_KEY",
    tokens: &["TENCENTCLOUD_TOKEN", "TENCENTCLOUD_SESSION_TOKEN", "TENCENTCLOUD_SECURITY_TOKEN"],
};

/// The credential in the variables that the vendor's own tools read.
#[must_use]
pub fn environment(variables: Variables) -> Environment {
    Environment::new(TERMS, NAMES, variables)
}
