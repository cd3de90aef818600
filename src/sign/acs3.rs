//! ACS3-HMAC-SHA256, the signature of Alibaba Cloud's gateway (vendor document "V3 request structure and signature").

use super::{Signer, mac, sha256};
use crate::moment::Moment;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// What RFC 3986 does not reserve stays as it is; everything else is written `%XX`, the space as `%20`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The first size of the buffers that hold parameters, in bytes: larger than any of ours, since growing would leave an unwiped copy behind.
const BUFFER_SIZE: usize = 4096;

/// Parameters as they stand in a query or a form body: sorted by name, percent-encoded, joined with `&`. Only [`encode`] makes one, so that
/// what is sent is what was signed.
#[derive(Clone, Default)]
pub struct Encoded(Zeroizing<String>);

impl Encoded {
    /// The text itself. It may hold passwords.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Encodes parameters. Names are ASCII letters and digits.
#[must_use]
pub fn encode(parameters: &[(&str, &str)]) -> Encoded {
    let mut sorted = parameters.to_vec();
    sorted.sort_unstable();
    let mut text = Zeroizing::new(String::with_capacity(BUFFER_SIZE));
    for (name, value) in sorted {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.extend(percent_encoded(value));
    }
    Encoded(text)
}

/// A text as [`encode`] writes it, piece by piece.
pub fn percent_encoded(text: &str) -> impl Iterator<Item = &str> {
    utf8_percent_encode(text, RESERVED)
}

/// Everything about a `POST /` request that its signature covers.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// The host as the `Host` header carries it: lower case, with a port unless it is the scheme's own.
    pub host: &'a str,
    /// The action's name.
    pub action: &'a str,
    /// The version of the product's API.
    pub version: &'a str,
    /// The query of the URL.
    pub query: &'a Encoded,
    /// The `Content-Type`, where there is a body.
    pub content_type: Option<&'a str>,
    /// Further headers to sign, with lower-case names: every other `x-acs-…` header of the request.
    pub also_signed: &'a [(&'a str, &'a str)],
    /// The exact bytes of the body.
    pub payload: &'a [u8],
    /// The time of signing; the cloud accepts fifteen minutes of difference.
    pub timestamp: Moment,
    /// Different in every request that is ever sent, also in a repeated one.
    pub nonce: &'a str,
}

/// The headers that make the request whole: the signed ones exactly as they were signed, and the authorization.
#[must_use]
pub fn sign(head: &Head<'_>, signer: Signer<'_>) -> Vec<(String, String)> {
    let mut headers = signed_headers(head);
    let names = signed_names(&headers);
    let to_sign = string_to_sign(&canonical_request(head, &headers));
    let signature = hex::encode(*mac(signer.key.expose().as_bytes(), to_sign.as_bytes()));
    let authorization = format!("{ALGORITHM} Credential={},SignedHeaders={names},Signature={signature}", signer.id);
    headers.push(("authorization".to_owned(), authorization));
    headers
}

/// The signed headers, sorted by name.
fn signed_headers(head: &Head<'_>) -> Vec<(String, String)> {
    let date = head.timestamp.utc().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let digest = sha256(head.payload);
    let mut headers = vec![
        ("host", head.host),
        ("x-acs-action", head.action),
        ("x-acs-content-sha256", &digest),
        ("x-acs-date", &date),
        ("x-acs-signature-nonce", head.nonce),
        ("x-acs-version", head.version),
    ];
    headers.extend(head.content_type.map(|kind| ("content-type", kind)));
    headers.extend_from_slice(head.also_signed);
    headers.sort_unstable();
    headers.into_iter().map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

fn signed_names(headers: &[(String, String)]) -> String {
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    names.join(";")
}

/// It holds the passwords where they stand in the query.
fn canonical_request(head: &Head<'_>, headers: &[(String, String)]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * BUFFER_SIZE));
    for part in ["POST\n/\n", head.query.expose(), "\n"] {
        text.push_str(part);
    }
    for (name, value) in headers {
        text.extend([name.as_str(), ":", value.as_str(), "\n"]);
    }
    let (names, digest) = (signed_names(headers), sha256(head.payload));
    text.extend(["\n", names.as_str(), "\n", digest.as_str()]);
    text
}

fn string_to_sign(canonical: &str) -> String {
    format!("{ALGORITHM}\n{}", sha256(canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    const NEW_YEAR: i64 = 1_735_689_600;
    const FAKE: (&str, &str) = ("LTAI5tFAKEFAKEFAKEFAKE01", "FakeAliyunSecretKeyForVectors1");
    const FORM: &str = "application/x-www-form-urlencoded";
    const NO_BODY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const NONCE: &str = "3156853299f313e23d1673dc12e1703d";
    const HARD: &str = "aB3!@#$%^&*()_+-=";
    const LEAST: &str = "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version";
    const WITH_BODY: &str =
        "content-type;host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version";
    const WITH_TOKEN: &str = "host;x-acs-accesskey-id;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-security-token;x-acs-signature-nonce;x-acs-version";

    /// One row of the published or cross-checked vectors. An empty stage was not published.
    struct Vector {
        name: &'static str,
        signer: (&'static str, &'static str),
        host: &'static str,
        action: &'static str,
        version: &'static str,
        timestamp: i64,
        nonce: &'static str,
        query: &'static [(&'static str, &'static str)],
        form: &'static [(&'static str, &'static str)],
        token: &'static str,
        body: &'static str,
        body_sha: &'static str,
        canonical: &'static str,
        canonical_sha: &'static str,
        names: &'static str,
        signature: &'static str,
    }

    const VECTOR: Vector = Vector {
        name: "",
        signer: FAKE,
        host: "r-kvstore.aliyuncs.com",
        action: "",
        version: "2015-01-01",
        timestamp: NEW_YEAR,
        nonce: NONCE,
        query: &[],
        form: &[],
        token: "",
        body: "",
        body_sha: NO_BODY,
        canonical: "",
        canonical_sha: "",
        names: LEAST,
        signature: "",
    };

    const VECTORS: &[Vector] = &[
        Vector {
            name: "A0 the vendor's own",
            signer: ("YourAccessKeyId", "YourAccessKeySecret"),
            host: "ecs.cn-shanghai.aliyuncs.com",
            action: "RunInstances",
            version: "2014-05-26",
            timestamp: 1_698_315_752,
            query: &[("RegionId", "cn-shanghai"), ("ImageId", "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd")],
            signature: "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0",
            ..VECTOR
        },
        Vector {
            name: "A1 ModifyAccountPassword in the query",
            action: "ModifyAccountPassword",
            query: &[
                ("InstanceId", "r-bp1zxszhcgatnx00"),
                ("AccountName", "testaccount"),
                ("OldAccountPassword", "Old_Passw0rd!"),
                ("NewAccountPassword", HARD),
            ],
            canonical: "POST\n/\nAccountName=testaccount&InstanceId=r-bp1zxszhcgatnx00&NewAccountPassword=aB3%21%40%23%24%25%5E%26%2A%28%29_%2B-%3D&OldAccountPassword=Old_Passw0rd%21\nhost:r-kvstore.aliyuncs.com\nx-acs-action:ModifyAccountPassword\nx-acs-content-sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\nx-acs-date:2025-01-01T00:00:00Z\nx-acs-signature-nonce:3156853299f313e23d1673dc12e1703d\nx-acs-version:2015-01-01\n\nhost;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            canonical_sha: "c4bdf82a67293a8eb6819a2e1fa3d31477e925750888f327e18c750f82fe15c1",
            signature: "f25351ba8d10a08b779b77ef484ddf1ee0ae7f78248040d3b83b00de1198a2bf",
            ..VECTOR
        },
        Vector {
            name: "A2 ResetAccountPassword in a form",
            host: "r-kvstore.cn-beijing.aliyuncs.com",
            action: "ResetAccountPassword",
            nonce: "5e2a2b9d0c7f4f0a8d6b1c3e4f5a6b7c",
            form: &[("InstanceId", "r-bp1zxszhcgatnx00"), ("AccountPassword", HARD), ("AccountName", "testaccount")],
            body: "AccountName=testaccount&AccountPassword=aB3%21%40%23%24%25%5E%26%2A%28%29_%2B-%3D&InstanceId=r-bp1zxszhcgatnx00",
            body_sha: "933247877197098c5dc29a3ab8070d07f3adf0606091d10a97e24a6891e35f88",
            canonical_sha: "bfd05eaee7b7b9f1bad3b9b8d99496c61f98275750142dbdb6c92ee1f92a7607",
            names: WITH_BODY,
            signature: "6324823177d8ece1d84f2c83c1db68fdb0c69675092182f5c190d596ceb4bd0a",
            ..VECTOR
        },
        Vector {
            name: "A3 temporary credentials, last second of the day",
            signer: ("STS.NFAKEFAKEFAKEFAKE01", "FakeAliyunSecretKeyForVectors1"),
            action: "DescribeAccounts",
            timestamp: NEW_YEAR + 86_399,
            nonce: "0f0e0d0c0b0a09080706050403020100",
            query: &[("InstanceId", "r-bp1zxszhcgatnx00")],
            token: "FAKE-STS-TOKEN-0001",
            canonical_sha: "0bf57a653d63b7d7d964faa509d16707fa7bbd6e24caece058e9c10a984000bc",
            names: WITH_TOKEN,
            signature: "0158181283f92355df93d5fe78c6fa662bb4b28268dc9e27b24f3927fd5b7335",
            ..VECTOR
        },
        Vector {
            name: "A4 another product, in a form",
            host: "kms.cn-hangzhou.aliyuncs.com",
            action: "PutSecretValue",
            version: "2016-01-20",
            nonce: "11112222333344445555666677778888",
            form: &[
                ("SecretName", "redis/prod/app"),
                ("VersionId", "rot-20250101T000000Z"),
                ("SecretData", r#"{"password":"aB3!x"}"#),
            ],
            body: "SecretData=%7B%22password%22%3A%22aB3%21x%22%7D&SecretName=redis%2Fprod%2Fapp&VersionId=rot-20250101T000000Z",
            body_sha: "851c2f177d4578c0723d6849f2ecdd5119d2615e77ca28c4dd33ed6a7fc434d6",
            canonical_sha: "c5921bb46099f254c298643643dd11caa03987a7d9b188ad8f7d63ca3d1f60ed",
            names: WITH_BODY,
            signature: "4b8e0b6e943ac4e833d439122878ad59b5ce6e2ba0a9e74a4da29ddca6ac65d1",
            ..VECTOR
        },
    ];

    fn same(name: &str, stage: &str, computed: &str, published: &str) {
        assert!(published.is_empty() || computed == published, "{name}, {stage}: {computed} is not {published}");
    }

    #[test]
    fn every_stage_of_every_vector() {
        for vector in VECTORS {
            let name = vector.name;
            let (query, body) = (encode(vector.query), encode(vector.form));
            let (id, key) = (vector.signer.0, Secret::new(vector.signer.1.to_owned()));
            let temporary = [("x-acs-security-token", vector.token), ("x-acs-accesskey-id", id)];
            let head = Head {
                host: vector.host,
                action: vector.action,
                version: vector.version,
                query: &query,
                content_type: (!vector.form.is_empty()).then_some(FORM),
                also_signed: if vector.token.is_empty() { &[] } else { &temporary },
                payload: body.expose().as_bytes(),
                timestamp: Moment::from_seconds(vector.timestamp),
                nonce: vector.nonce,
            };
            let canonical = canonical_request(&head, &signed_headers(&head));
            assert_eq!(body.expose(), vector.body, "{name}");
            same(name, "body's hash", &sha256(head.payload), vector.body_sha);
            same(name, "canonical request", &canonical, vector.canonical);
            same(name, "its hash", &sha256(canonical.as_bytes()), vector.canonical_sha);
            let to_sign = format!("ACS3-HMAC-SHA256\n{}", vector.canonical_sha);
            let published = if vector.canonical_sha.is_empty() { "" } else { &to_sign };
            same(name, "string to sign", &string_to_sign(&canonical), published);

            let headers = sign(&head, Signer { id, key: &key });
            let sent =
                |wanted: &str| headers.iter().find(|(header, _)| header == wanted).map(|(_, value)| value.as_str());
            let authorization = format!(
                "ACS3-HMAC-SHA256 Credential={id},SignedHeaders={},Signature={}",
                vector.names, vector.signature
            );
            assert_eq!(sent("authorization"), Some(authorization.as_str()), "{name}");
            assert_eq!(headers.len(), vector.names.split(';').count() + 1, "{name}: what is signed is sent");
            assert_eq!(sent("content-type"), head.content_type, "{name}");
        }
    }

    #[test]
    fn parameters_are_sorted_and_everything_reserved_is_encoded() {
        let rows: [(&[(&str, &str)], &str); 4] = [
            (&[], ""),
            (&[("B", "2"), ("A", "1")], "A=1&B=2"),
            (&[("A", "a b+c*d~e")], "A=a%20b%2Bc%2Ad~e"),
            (&[("A", "é/?&=%")], "A=%C3%A9%2F%3F%26%3D%25"),
        ];
        for (parameters, expected) in rows {
            assert_eq!(encode(parameters).expose(), expected);
        }
    }
}
