//! Where Alibaba Cloud's AccessKeyId, AccessKeySecret and security token come from.

use crate::provider::credential::{Environment, Terms, VariableNames, Variables};

/// What the vendor calls the parts.
pub const TERMS: Terms =
    Terms { vendor: "Alibaba Cloud", id: "AccessKeyId", key: "AccessKeySecret", token: "security token" };

const NAMES: VariableNames = VariableNames {
    id: "ALIBABA_CLOUD_ACCESS_KEY_ID",
    key: "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    tokens: &["ALIBABA_CLOUD_SECURITY_TOKEN"],
};

/// The credential in the variables that the vendor's own tools read.
#[must_use]
pub fn environment(variables: Variables) -> Environment {
    Environment::new(TERMS, NAMES, variables)
}
